"""Commands as Python functions: ``darts.search(...)`` does what ``python -m darts.search`` does."""

from __future__ import annotations

import inspect
import itertools
import numbers
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from darts.config.fields import ConfigError
from darts.config.overrides import quoted


def make_callable(name: str, function: Callable[..., object]) -> None:
    """Let the module of a command be called like a function.

    ``darts.search`` is both the module of the command, which ``python -m darts.search`` runs, and
    the function of the Python API. A module that runs as a program stays as it is.

    Args:
        name: The module's ``__name__``.
        function: What a call of the module calls.
    """
    if name == "__main__":
        return

    class CallableModule(ModuleType):
        __doc__ = function.__doc__
        __call__ = staticmethod(function)

    sys.modules[name].__class__ = CallableModule
    vars(sys.modules[name])["__signature__"] = inspect.signature(function)


def overrides_of(settings: Mapping[str, object], overrides: Sequence[str] = ()) -> list[str]:
    """Return keyword arguments as overrides, followed by further overrides.

    Args:
        settings: Values by key, for example ``{"epochs": 3, "space": "cnn"}``.
        overrides: Overrides as on the command line, for example ``["space.channels=8"]``.

    Raises:
        ConfigError: For a value that no override can have.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"overrides={overrides!r}: must be a list, such as [{overrides!r}]")
    given = [*(f"{key}={_text(key, value)}" for key, value in settings.items()), *overrides]
    defaults = ("resume=null", "dry_run=false")
    if any(item.startswith(("resume=", "dry_run=")) for item in given if item not in defaults):
        raise ConfigError(
            "overrides: resume= and dry_run= belong to the command; use the argument resume"
        )
    return given


def _text(key: str, value: object) -> str:
    """Return a value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Real):  # also NumPy's
        return repr(int(value) if isinstance(value, numbers.Integral) else float(value))
    if isinstance(value, str | Path):
        text = str(value)
        return text if re.fullmatch(r"[A-Za-z_/][\w./-]*", text) else quoted(text)
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(key, item) for item in value)}]"
    raise ConfigError(
        f"{key}={value!r}: must be a string, a number, True, False, None or a list of these; set "
        f'single keys with overrides=["{key}.<key>=<value>"]'
    )


def run_directory(command: str, out: str | Path | None) -> Path:
    """Return the absolute directory of a run: ``out``, or a free one named after the time."""
    if out is not None:
        return Path(out).absolute()
    base = Path("runs") / command / time.strftime("%Y-%m-%d_%H-%M-%S")
    candidates = (base.with_name(f"{base.name}_{number}") for number in itertools.count(2))
    paths = itertools.chain([base], candidates)
    return next(path for path in paths if not path.exists()).absolute()


def resume_directory(resume: object) -> str | Path:
    """Return the directory of a run to resume.

    Args:
        resume: The directory, or an object with the attribute ``directory``, for example a run.

    Raises:
        ConfigError: If ``resume`` is neither.
    """
    directory = getattr(resume, "directory", resume)
    if not isinstance(directory, str | Path):
        raise ConfigError(f"resume={resume!r}: must be a run or its directory")
    return directory


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
