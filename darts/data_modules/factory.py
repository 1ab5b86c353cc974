"""The factory of data modules."""

from __future__ import annotations

from darts.config import RetrainConfig, SearchConfig
from darts.data_modules.compatibility import data_kind
from darts.data_modules.data_module import DATA_MODULES, DataModule
from darts.training.distributed import Ranks


def make_data_module(config: SearchConfig | RetrainConfig, ranks: Ranks) -> DataModule:
    """Return the data module for the configured data set.

    Raises:
        ValueError: if no data module handles its kind of data, or as ``DataModule``.
    """
    kind = data_kind(config)
    for module in DATA_MODULES.values():
        if kind in module.data_kinds:
            return module(config, ranks)
    raise ValueError(
        f"dataset={config.dataset.name}: no data module handles {kind}; register one in "
        f"darts/data_modules"
    )
