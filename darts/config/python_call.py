"""The arguments of the Python functions, see ``darts.api``, as overrides of the commands."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from torch import nn
from torch.utils.data import Dataset

from darts.config.fields import ConfigError
from darts.config.hydra_adapter import values_of
from darts.config.overrides import value_text
from darts.data.torch_datasets import store
from darts.spaces.module.targets import target_of
from darts.tasks import TASKS
from darts.tasks.sample_objective import Loss

if TYPE_CHECKING:
    import pandas

Samples: TypeAlias = "Dataset[object] | pandas.DataFrame"

Data: TypeAlias = "str | Samples | tuple[Samples, Samples | None]"
"""Name of a data set; or training samples, or training and test samples."""


def overrides_of(settings: Mapping[str, object], overrides: Sequence[str] = ()) -> list[str]:
    """Return keyword arguments as overrides, followed by further overrides."""
    if isinstance(overrides, str):
        raise ConfigError(f"overrides={overrides!r}: must be a list, such as [{overrides!r}]")
    given = [*(f"{key}={value_text(key, value)}" for key, value in settings.items()), *overrides]
    defaults = ("resume=null", "dry_run=false")
    if any(item.startswith(("resume=", "dry_run=")) for item in given if item not in defaults):
        raise ConfigError(
            "overrides: resume= and dry_run= belong to the command; use the argument resume"
        )
    return given


def run_directory(command: str, out: str | Path | None) -> Path:
    """Return the absolute directory of a run: ``out``, or a free one named after the time."""
    if out is not None:
        return Path(out).absolute()
    base = Path("runs") / command / time.strftime("%Y-%m-%d_%H-%M-%S")
    candidates = (base.with_name(f"{base.name}_{number}") for number in itertools.count(2))
    paths = itertools.chain([base], candidates)
    return next(path for path in paths if not path.exists()).absolute()


def resume_directory(resume: object, *others: object) -> Path:
    """Return the absolute directory of a run to resume, which may be given as a run.

    Raise ConfigError if other arguments are given, because the run keeps its settings.
    """
    if any(value is not None and value != () and value != {} for value in others):
        raise ConfigError(
            f"resume={str(resume)!r}: a resumed run keeps its settings; leave out the other "
            "arguments"
        )
    directory = getattr(resume, "directory", resume)
    if not isinstance(directory, str | Path):
        raise ConfigError(f"resume={resume!r}: must be a run or its directory")
    return Path(directory).absolute()


@contextmanager
def interrupts_as_keyboard_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt where a command would exit after Ctrl-C.

    The checkpoint is saved by then, so the run can be resumed.
    """
    try:
        yield
    except SystemExit as error:
        if error.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from error
        raise


def data_settings(
    data: Data | None,
    settings: Mapping[str, object],
    overrides: Sequence[str] = (),
    *,
    label: str | None = None,
    chooses_space: bool = False,
) -> dict[str, object]:
    """Return the configuration keys of a data set; PyTorch datasets and tables are stored on disk.

    The task, which says what targets are, is the last one in ``settings`` and ``overrides``.
    ``label`` is the column of the targets of a table.
    """
    if label is not None and (data is None or isinstance(data, str)):
        raise ConfigError(f"label={label!r}: names a column of a pandas table; set dataset.label")
    if data is None:
        return {}
    if "dataset" in settings:
        raise ConfigError("data and dataset are mutually exclusive; use one of them")
    if isinstance(data, str):
        return {"dataset": data}
    if not isinstance(data, tuple | list):
        data = (data, None)
    if len(data) != 2:
        raise ConfigError(
            f"data has {len(data)} entries; must be a dataset, or training and test samples"
        )
    name = str(settings.get("task", "classification"))
    task = TASKS[[name, *values_of("task", overrides)][-1]]
    stored = store(*data, targets=task.targets)
    found: dict[str, object] = {"dataset": stored.name, "dataset.root": stored.root}
    if label is not None:
        found["dataset.label"] = label
    if stored.kinds:
        found["dataset.kinds"] = dict(stored.kinds)
    if stored.labels:
        found["dataset.labels"] = list(stored.labels)
    if stored.name == "csv" and "space" not in settings and not chooses_space:
        found["space"] = "mlp"  # the space for rows of numbers
    return found


def model_settings(model: nn.Module | None) -> dict[str, object]:
    """Return the configuration keys of a model of the user's own."""
    if model is None:
        return {}
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model={model!r}: must be a torch.nn.Module; give a data set as data={model!r}"
        )
    return {"space": "module", "space.target": target_of(model)}


def loss_settings(loss: Loss | None) -> list[str]:
    """Return the overrides for a loss function of the user's own; none without one."""
    if loss is None:
        return []
    if not callable(loss):
        raise ConfigError(f"loss={loss!r}: must be a function of outputs and targets")
    return ["task.loss=own"]
