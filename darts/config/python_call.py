"""The arguments of the Python functions, see ``darts.api``, as overrides of the commands."""

from __future__ import annotations

import difflib
import itertools
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar

import torch
from torch import nn

from darts.config.fields import ConfigError
from darts.config.hydra_adapter import values_of
from darts.config.overrides import value_text
from darts.data import sources
from darts.data.given_samples import Samples, as_samples, is_table, training_and_test
from darts.data.guess import guess_data
from darts.data.torch_datasets import store
from darts.plugins import group_options
from darts.spaces import SPACES, Space
from darts.spaces.module.targets import target_of
from darts.tasks import TASKS
from darts.tasks.sample_objective import Loss

P = ParamSpec("P")
R = TypeVar("R")

# A name, a path, or samples, see `darts.search`.
Data: TypeAlias = "str | Path | Samples | tuple[Any, Any] | Mapping[str, Any]"


def checks_names(function: Callable[P, R]) -> Callable[P, R]:
    """Raise ConfigError for keyword arguments that are nearly an argument of the function.

    Other unknown ones are keys of the configuration.
    """
    names = [n for n, own in signature(function).parameters.items() if own.kind != own.VAR_KEYWORD]

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            for near in difflib.get_close_matches(name, names, n=1, cutoff=0.85):
                if near != name:
                    raise ConfigError(f"no such argument {name!r} (did you mean {near!r}?)")
        return function(*args, **kwargs)

    return checked


def without_defaults(**settings: object) -> dict[str, object]:
    """Return the settings that are given, which are not None."""
    given = {key: value for key, value in settings.items() if value is not None}
    return {k: str(v) if isinstance(v, torch.device) else v for k, v in given.items()}


def overrides_of(settings: Mapping[str, object], overrides: Sequence[str] = ()) -> list[str]:
    """Return keyword arguments as overrides, followed by further overrides."""
    given = [*(f"{key}={value_text(key, value)}" for key, value in settings.items()), *overrides]
    defaults = ("resume=null", "dry_run=false")
    if any(item.startswith(("resume=", "dry_run=")) for item in given if item not in defaults):
        raise ConfigError(
            "overrides: resume= and dry_run= belong to the command; use the argument resume"
        )
    return given


def given_overrides(overrides: object) -> tuple[str, ...]:
    """Return the argument ``overrides`` of a function; raise ConfigError for other types."""
    if isinstance(overrides, str):
        raise ConfigError(f"overrides={overrides!r}: must be a list, such as [{overrides!r}]")
    items: tuple[Any, ...] = (
        tuple(overrides) if isinstance(overrides, list | tuple) else (overrides,)
    )
    if wrong := [item for item in items if not isinstance(item, str) or "=" not in item]:
        raise ConfigError(f'overrides: {wrong[0]!r} must be a text such as "optimizer.lr=0.1"')
    return items


@contextmanager
def run_directory(command: str, out: str | Path | None) -> Iterator[Path]:
    """Yield the absolute directory of a run: ``out``, or a new one named after the time.

    A new one is created, because another process may choose the same name; it is removed at the end
    if it is empty.
    """
    if out is not None:
        yield Path(out).absolute()
        return
    base = Path("runs") / command / time.strftime("%Y-%m-%d_%H-%M-%S")
    candidates = (base.with_name(f"{base.name}_{number}") for number in itertools.count(2))
    path = next(filter(_is_created, itertools.chain([base], candidates))).absolute()
    try:
        yield path
    finally:
        with suppress(OSError):
            path.rmdir()


def _is_created(path: Path) -> bool:
    """Create a directory; return False if it exists."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


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
    """Return the configuration keys of the data, without those in ``settings`` and ``overrides``.

    Samples are stored on disk. The task, which says what targets are, is the last one in
    ``settings`` and ``overrides``. ``label`` is the column of the targets of a table. Unless the
    command ``chooses_space``, a space that takes the data is among the keys.

    Raises:
        TypeError: If the data is no such object.
    """
    given = {*settings, *(item.partition("=")[0] for item in overrides)}
    if data is None and not given & {"dataset", "experiment"}:
        raise ConfigError('data is missing: pass samples, a path or a name, such as data="digits"')
    if label is not None and (data is None or _is_name(data)):
        raise ConfigError(f"label={label!r}: names a column of a table; set dataset.label")
    if data is None:
        return {}
    if "dataset" in settings:
        raise ConfigError("data and dataset are mutually exclusive; use one of them")
    if _is_name(data):
        return {"dataset": data}
    found: dict[str, object] = {}
    column = label or next(iter(values_of("dataset.label", overrides)), None)
    if isinstance(data, str | Path):
        found |= guess_data(Path(data).expanduser().absolute(), column).settings
    else:
        train, test = (None if s is None else as_samples(s, label) for s in training_and_test(data))
        name = str(settings.get("task", "classification"))
        task = TASKS[[name, *values_of("task", overrides)][-1]]
        stored = store(train, test, targets=task.targets)
        found |= {"dataset": stored.name, "dataset.root": stored.root}
        if is_table(train):
            found |= guess_data(stored.root, column).settings
        if stored.kinds:
            found["dataset.kinds"] = dict(stored.kinds)
        if stored.labels:
            found["dataset.labels"] = list(stored.labels)
    if label is not None and found["dataset"] != "npz":  # images of a dataset of Hugging Face
        found["dataset.label"] = label
    kind = sources()[str(found["dataset"])].kinds[0]
    if not chooses_space and kind not in Space.data_kinds:
        found["space"] = next(name for name in SPACES if kind in SPACES[name].data_kinds)
    return {key: value for key, value in found.items() if key not in given}


def _is_name(data: object) -> bool:
    """Return whether data is the name of a data set, even if there is a file of this name."""
    return isinstance(data, str) and (
        data in group_options("dataset") or (data.isidentifier() and not Path(data).exists())
    )


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
