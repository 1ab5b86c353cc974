"""Checks that task, data set and space fit together, before any data is read."""

from __future__ import annotations

from darts.config import ConfigError, RetrainConfig, RunConfig, SearchConfig, one_of
from darts.data import count_folds, sources
from darts.data.source import SourceSpec
from darts.spaces import SPACES
from darts.tasks import TASKS, Task
from darts.tracking.trackers.tracker import check_trackers


def data_kind(config: RunConfig) -> str:
    """Return the first kind of the data set that the task accepts; else raise ValueError."""
    task, dataset = config.task, config.dataset.name
    spec = sources()[dataset]
    for kind in spec.kinds:
        if kind in task.data_kinds and task.targets in spec.targets:
            return kind
    datasets = [name for name, other in sources().items() if _fit(task, other)]
    tasks = [name for name in TASKS if _fit(TASKS[name], spec)]
    problem = (
        f"learns from {' or '.join(task.data_kinds)}, but dataset={dataset} contains "
        f"{' or '.join(spec.kinds)}"
    )
    if set(spec.kinds) & set(task.data_kinds):
        problem = f"predicts {task.targets}, but dataset={dataset} has {' or '.join(spec.targets)}"
    raise ValueError(
        f"task={task.name} {problem}; choose dataset={' or '.join(datasets)}, "
        f"or task={' or '.join(tasks)}"
    )


def _fit(task: Task | type[Task], spec: SourceSpec) -> bool:
    """Return whether a task accepts a kind of samples of a data set, and its targets."""
    return bool(set(spec.kinds) & set(task.data_kinds)) and task.targets in spec.targets


def check_data_kind(config: RunConfig) -> None:
    """Raise ValueError unless task, data set and space fit together; list the alternatives."""
    kind, space = data_kind(config), config.space
    if kind not in space.data_kinds:
        spaces = [name for name in SPACES if kind in SPACES[name].data_kinds]
        raise ValueError(
            f"space={space.name} takes {' or '.join(space.data_kinds)}, but dataset="
            f"{config.dataset.name} contains {kind}; choose space={' or '.join(spaces)}"
        )


def check_training(config: SearchConfig | RetrainConfig) -> None:
    """Raise ValueError if the task does not fit the data, the space, the metric or the process.

    Also check that ``cutout`` fits the data, and that all trackers exist and are installed.
    """
    check_data_kind(config)
    if config.cutout and data_kind(config) != "images":
        raise ConfigError(
            f"cutout={config.cutout} erases a square of an image, but "
            f"dataset={config.dataset.name} contains no images; set cutout=0"
        )
    check_trackers(config.tracking.trackers)
    config.task.check_training()
    one_of("metric", config.metric, config.task.metrics)


def check_fold(config: RetrainConfig) -> None:
    """Raise ConfigError if ``validation_fold`` selects a held-out part that does not exist."""
    fold, share = config.validation_fold, config.validation
    folds = count_folds(share)
    if fold is not None and fold >= folds:
        valid = f"null, 0 to {folds - 1}" if folds else "null"
        raise ConfigError(
            f"validation_fold={fold}: validation={share:g} gives {folds} disjoint held-out parts; "
            f"valid values: {valid}"
        )
