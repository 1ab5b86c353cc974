"""Data modules: from a configured data set to the loaders of a run."""

from darts.data_modules.compatibility import check_data_kind, check_fold, check_training
from darts.data_modules.data_module import (
    DATA_MODULES,
    DataModule,
    SearchLoaders,
    load_options,
    make_data_module,
)

__all__ = [
    "DATA_MODULES",
    "DataModule",
    "SearchLoaders",
    "check_data_kind",
    "check_fold",
    "check_training",
    "load_options",
    "make_data_module",
]
