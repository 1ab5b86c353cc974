"""What Hydra is told: where the YAML lies, and which dataclass types which group option."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from hydra.core.config_store import ConfigStore

import darts
from darts.bilevel import GRADIENTS
from darts.config import schema
from darts.methods.discretization import DISCRETISERS
from darts.methods.freezing import FREEZING
from darts.methods.perturbation import PERTURBATIONS
from darts.methods.regularizer import REGULARIZERS
from darts.methods.relaxation import RELAXATIONS
from darts.methods.stopping import STOPPING
from darts.spaces import SPACES
from darts.strategies import STRATEGIES
from darts.strategies.judge import EVALUATIONS
from darts.strategies.pruner import PRUNING
from darts.tasks import TASKS

COMMANDS = {
    "search": schema.SearchConfig,
    "retrain": schema.RetrainConfig,
    "tune": schema.TuneConfig,
    "compare": schema.CompareConfig,
    "evaluate": schema.EvaluateConfig,
    "export": schema.ExportConfig,
    "genotypes": schema.GenotypesConfig,
    "report": schema.ReportConfig,
}

# An option's YAML names its type by `- /schema/<group>/<type>@_here_`. Parts are their own types.
TYPES: dict[str, Mapping[str, type]] = {
    "dataset": {
        "images": schema.ImagesConfig,
        "synthetic": schema.SyntheticConfig,
        "table": schema.TableConfig,
        "text": schema.TextConfig,
        "published_text": schema.PublishedTextConfig,
        "sentences": schema.SentencesConfig,
        "pairs": schema.PairsConfig,
        "documents": schema.DocumentsConfig,
        "spoken_digits": schema.SpokenDigitsConfig,
        "audiofolder": schema.AudioFolderConfig,
    },
    "task": TASKS,
    "space": SPACES,
    "relaxation": RELAXATIONS,
    "bilevel": GRADIENTS,
    "perturbation": PERTURBATIONS,
    "regularizer": REGULARIZERS,
    "stopping": STOPPING,
    "freezing": FREEZING,
    "discretize": DISCRETISERS,
    "strategy": STRATEGIES,
    "pruning": PRUNING,
    "evaluation": EVALUATIONS,
}


def conf_folder() -> Path:
    """The YAML: ``darts/conf`` where installed, ``conf`` beside the package in a checkout."""
    package = Path(darts.__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def group_options(group: str) -> list[str]:
    """The names that a group of YAML files offers, such as ``experiment/retrain``."""
    return sorted(file.stem for file in (conf_folder() / group).glob("*.yaml"))


@functools.cache
def register() -> None:
    """Make the dataclasses known to Hydra, once a process."""
    store = ConfigStore.instance()
    for name, node in COMMANDS.items():
        store.store(group="schema", name=name, node=node, package="_global_")
    for group, types in TYPES.items():
        for name, node in types.items():
            store.store(group=f"schema/{group}", name=name, node=node)
