"""The one door through which the outside comes in: command line and YAML to plain dataclasses.

Hydra composes; the result is turned into the command's dataclass once, checked, and handed on with
the run's directory. Whatever is wrong ends here in one line on standard error and exit code 2.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from darts.config import errors, store
from darts.config.fields import ConfigError, check_fields
from darts.config.job import Invocation, Job
from darts.config.overrides import handed_on, prepared, translated, values_of
from darts.training.distributed import rank_and_size

_PACKAGE = Path(__file__).resolve().parents[1]
_PATIENCE = 10.0  # seconds


def launch(
    command: str,
    check: Callable[[Any], None],
    task: Callable[[Any, Invocation], Any],
    arguments: Sequence[str] | None = None,
) -> Any:
    """Run one command from its command line.

    Args:
        command: name of its YAML in ``conf/``.
        check: raises ValueError for values and combinations that no type rules out.
        task: the command itself.
        arguments: overrides and Hydra's own flags; the process's when not given.

    Raises:
        SystemExit: with code 2 after one line on standard error, for anything the user can mend.
    """
    store.register()
    given = list(sys.argv[1:] if arguments is None else arguments)
    job = Job(command, check, task)
    previous_arguments, previous_flag = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # Errors shall reach the handler below, which puts them into one line, not be printed by Hydra.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    there: set[Path] = set()
    previous_format = warnings.formatwarning
    warnings.formatwarning = _plain_warnings(command)
    try:
        sys.argv = [f"darts.{command}", *prepared(command, given), *_of_a_rank(given)]
        there = _present_folders(sys.argv)
        hydra.main(version_base="1.3", config_path=str(store.conf_folder()), config_name=command)(
            job
        )()
        if job.failure:
            raise job.failure[0]
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does; the interpreter shall not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except ConfigError as error:
        _give_way(error)
        _leave(command, str(error))
    except Exception as error:
        _give_way(error)
        # Before the first folder there was nothing at work but the composition of the overrides.
        if not job.directories or isinstance(error, (HydraException, OmegaConfBaseException)):
            _leave(command, errors.one_line(error, _known_keys(command)))
        if not _is_users(error):
            raise
        _leave(command, str(error))
    finally:
        warnings.formatwarning = previous_format
        sys.argv = previous_arguments
        _remove_if_empty(job.directories, there)
        if previous_flag is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = previous_flag
    return job.results[-1] if job.results else None


def compose(command: str, overrides: Sequence[str] = ()) -> Any:
    """The checked configuration of a command without running it, for tests and scripts.

    Raises:
        ConfigError: as ``launch`` would print it.
    """
    store.register()
    try:
        with _composing():
            given = handed_on(command, [translated(command, o) for o in overrides])
            composed = hydra.compose(command, given)
        config: Any = OmegaConf.to_object(composed)
    except ConfigError:
        raise
    except Exception as error:
        # Hydra's parsers let all kinds of exceptions through for overrides that they choke on.
        raise ConfigError(errors.one_line(error, _known_keys(command))) from None
    check_fields(config)
    return config


@contextmanager
def _composing() -> Iterator[None]:
    """Hydra over our YAML, also within a command that Hydra itself has started."""
    world = GlobalHydra.instance()
    outer, world.hydra = world.hydra, None
    try:
        with hydra.initialize_config_dir(str(store.conf_folder()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


@functools.cache
def _known_keys(command: str) -> list[str]:
    """All keys of a command's default configuration and its groups, for error messages."""
    with suppress(Exception):
        with _composing():
            composed = hydra.compose(command, ["hydra.job.name=keys"], return_hydra_config=True)
        groups = [g for g in composed.hydra.runtime.choices if not g.startswith("hydra/")]
        plain: Any = OmegaConf.to_container(composed, resolve=False)
        plain.pop("hydra", None)
        groups = ["experiment" if g.startswith("experiment/") else g for g in groups]
        return sorted({*errors.dotted_keys(plain), *(g for g in groups if "/" not in g)})
    return []


def _of_a_rank(given: Sequence[str]) -> list[str]:
    """What Hydra must be told under torchrun: the run's folder is rank 0's to make."""
    rank, size = rank_and_size()
    if size > 1 and {"-m", "--multirun"}.intersection(given):
        raise ConfigError("--multirun starts runs one by one; call torchrun for each of them")
    return ["hydra.run.dir=."] if rank > 0 else []


def _give_way(error: Exception) -> None:
    """Under torchrun, wait before an error is told that another rank may be telling.

    Most errors are met by all ranks alike, and rank 0 tells of them; others are that a rank is
    gone. torchrun then ends this process while it waits.
    """
    rank, size = rank_and_size()
    if rank > 0 or (size > 1 and isinstance(error, RuntimeError)):
        time.sleep(_PATIENCE)


def _is_users(error: BaseException) -> bool:
    """Whether an error is the user's to mend: raised by this package or about a file."""
    if isinstance(error, OSError):
        return error.filename is not None
    if not isinstance(error, ValueError):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    # By the file, since a command that was started by ``python -m`` has the name ``__main__``.
    return bool(frames) and Path(frames[-1].f_code.co_filename).resolve().is_relative_to(_PACKAGE)


def _present_folders(arguments: Sequence[str]) -> set[Path]:
    """Folders in which a run may come to lie and which were there before it."""
    places: list[Any] = [
        Path.cwd(),
        *Path().glob("runs/*/*"),
        *values_of("hydra.run.dir", arguments),
    ]
    return {
        folder
        for place in (Path(os.path.abspath(place)) for place in places)
        for folder in (place, *place.parents)
        if folder.exists()
    }


def _remove_if_empty(directory: list[Path], there: set[Path]) -> None:
    """Take away the folders that Hydra made for a run that wrote nothing."""
    for folder in directory:
        for made in (folder, *folder.parents):
            with suppress(OSError):
                if made not in there and not any(made.iterdir()):
                    made.rmdir()
                    continue
            break


def _plain_warnings(command: str) -> Callable[..., str]:
    """Formats warnings of this package as one line without a place in the code."""
    usual = warnings.formatwarning

    def plain(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if category is UserWarning and Path(filename).resolve().is_relative_to(_PACKAGE):
            return f"darts.{command}: warning: {' '.join(str(message).splitlines())}\n"
        return usual(message, category, filename, lineno, line)

    return plain


def _leave(command: str, message: str) -> NoReturn:
    """Print one line and exit."""
    print(f"darts.{command}: {' '.join(message.splitlines())}", file=sys.stderr)
    raise SystemExit(2)
