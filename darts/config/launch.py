"""Entry point of the commands: from the command line to a checked configuration dataclass.

Errors end in one line on standard error. The exit code is 2 if the user can fix the error, 3 if the
command has ended with a worthless result, 4 if the machine has failed, for example by a full disk,
and 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from darts.config import errors
from darts.config.fields import ConfigError, check_fields
from darts.config.hydra_adapter import (
    COMPOSITION_ERRORS,
    HydraJob,
    Invocation,
    compose_object,
    run_job,
    values_of,
)
from darts.config.overrides import hydra_overrides
from darts.config.resumed_run import ResumedRun
from darts.escaping import for_terminal
from darts.key_help import fail, respond
from darts.keys import LOADS_NETWORKS, known_keys
from darts.log_mode import LOG_VARIABLE, take_log_mode
from darts.process import disable_keyboard_interrupt, enable_keyboard_interrupt, rank_and_size
from darts.reading import one_line
from darts.spaces.module.targets import allow_import
from darts.writing import WriteError, is_machine_failure

C = TypeVar("C")
R = TypeVar("R")

_PACKAGE = Path(__file__).resolve().parents[1]
_ERROR_DELAY = 10.0  # seconds
_PASSES_KEYS_ON = ("compare", "judge", "tune")


def launch(
    command: str,
    check: Callable[[C], None],
    function: Callable[[C, Invocation], R],
    arguments: Sequence[str] | None = None,
    *,
    worthless: Callable[[R], str | None] | None = None,
    prepare: Callable[[Sequence[str]], Sequence[str]] = list,
) -> R | None:
    """Run a command and return the result of ``function``; with ``--multirun``, of the last run.

    With flags such as ``--cfg``, Hydra prints and does not call the function; the result is None.
    ``check`` raises ValueError for configurations that the types allow but that cannot run.
    ``worthless`` returns why a result is worthless, in one line, or None if it is not.
    ``prepare`` changes the arguments first.
    ``arguments`` are overrides and flags of Hydra; None stands for the arguments of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    respond(command, given)
    disable_keyboard_interrupt()  # Ctrl-C, until the run begins
    job = HydraJob(command, check, function)
    try:
        with _process_state(command):
            _run(job, given, prepare)
        if worthless is not None:
            _report_worthless(command, [worthless(result) for result in job.results])
        return job.results[-1] if job.results else None
    except KeyboardInterrupt as error:
        fail(f"darts {command}", str(error) or "aborted by Ctrl-C", code=130)
    finally:
        enable_keyboard_interrupt()


def _run(
    job: HydraJob[C, R], given: Sequence[str], prepare: Callable[[Sequence[str]], Sequence[str]]
) -> None:
    """Compose the configuration and run the job; turn errors into one line and an exit code."""
    command, existing = job.command, set[Path]()
    try:
        given = prepare(take_log_mode(given))
        overrides = hydra_overrides(command, _allow_own_models(command, given))
        resumed = _resumed_run(command, overrides)
        if resumed is not None:
            job.recorded = resumed.recorded_overrides
            overrides = resumed.hydra_arguments(overrides)
        sys.argv = [f"darts.{command}", *_rank_overrides(command, given), *overrides]
        existing = _existing_folders(sys.argv)
        run_job(job, None if resumed is None else resumed.node())
        if job.failure is not None:
            raise job.failure
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output, for example `head`, has exited. Discard the rest, or the
        # interpreter reports the same error when it flushes the output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except ConfigError as error:
        _wait_for_other_ranks(error)
        fail(f"darts {command}", str(error))
    except Exception as error:
        _wait_for_other_ranks(error)
        if isinstance(error, OSError) and is_machine_failure(error):
            fail(f"darts {command}", one_line(error), code=4)
        # Without a run directory the composition failed: Hydra creates it afterwards.
        if not job.directories or isinstance(error, COMPOSITION_ERRORS):
            fail(f"darts {command}", errors.describe_error(error, known_keys(command)))
        if not _is_user_error(error):
            raise
        fail(f"darts {command}", one_line(error) if isinstance(error, OSError) else str(error))
    finally:
        _remove_empty(job.directories, existing)


def _allow_own_models(command: str, given: Sequence[str]) -> list[str]:
    """Allow the import of the models that the user names; return the arguments for the command.

    The target is left out for commands that load a trained network, which have no key ``space``,
    and for a resumed study or comparison, whose configuration already names the model.
    """
    key = "space.target="
    if command == "find" and any(word.startswith(key) for word in given):
        raise ConfigError(
            "space.target: darts find chooses the space itself; use darts tune for a model of your "
            "own"
        )
    for target in values_of("space.target", given):
        allow_import(target)
    is_resumed = any(word.startswith("resume=") and word != "resume=null" for word in given)
    if command in LOADS_NETWORKS or (command in _PASSES_KEYS_ON and is_resumed):
        return [word for word in given if not word.startswith(key)]
    return list(given)


def _report_worthless(command: str, reasons: Sequence[str | None]) -> None:
    """Exit with code 3 after one line if one of the results is worthless.

    Only rank 0 does so. If another rank failed, ``torchrun`` would end rank 0, which may still be
    writing files.
    """
    found = [reason for reason in reasons if reason is not None]
    if found and rank_and_size()[0] == 0:
        several = f"{len(found)} of {len(reasons)} results are worthless, the first because "
        prefix = several if len(reasons) > 1 else "the result is worthless: "
        fail(f"darts {command}", prefix + found[0], code=3)


def _resumed_run(command: str, overrides: Sequence[str]) -> ResumedRun | None:
    """Return the run that ``resume=`` names, if it is given, with the executor to continue it."""
    resume = values_of("resume", overrides)
    if not resume or resume[-1] == "":
        return None
    if {"-m", "--multirun"}.intersection(overrides):
        raise ConfigError("resume= continues one run; leave out --multirun")
    run = ResumedRun.load(command, resume[-1])
    executor = values_of("executor", overrides)
    return run.with_executor(executor[-1]) if executor else run


def compose(command: str, overrides: Sequence[str] = (), resumed: ResumedRun | None = None) -> Any:
    """Return the configuration of a command, its values checked against the limits of their fields.

    The overrides change the configuration of ``conf``, or of a run to resume. A ConfigError has the
    message that ``launch`` prints.
    """
    try:
        node = None if resumed is None else resumed.node()
        config = compose_object(command, hydra_overrides(command, overrides), node)
    except ConfigError:
        raise
    except Exception as error:
        # Hydra's parsers raise exceptions of many types for malformed overrides.
        raise ConfigError(errors.describe_error(error, known_keys(command))) from None
    check_fields(config)
    return config


@contextmanager
def _process_state(command: str) -> Iterator[None]:
    """Make Hydra raise its errors, and shorten warnings of this package.

    At the end, restore what this function and the command change: the format of warnings,
    ``sys.argv``, and the environment variables of Hydra's errors and of the log mode.
    """
    arguments = sys.argv
    environment = {name: os.environ.get(name) for name in ("HYDRA_FULL_ERROR", LOG_VARIABLE)}
    format_warning = warnings.formatwarning
    os.environ["HYDRA_FULL_ERROR"] = "1"  # without it, Hydra prints errors and exits
    warnings.formatwarning = _short_warnings(command)
    try:
        yield
    finally:
        warnings.formatwarning = format_warning
        sys.argv = arguments
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _rank_overrides(command: str, given: Sequence[str]) -> list[str]:
    """Return an override for ranks other than 0, because only rank 0 creates a run directory."""
    rank, size = rank_and_size()
    if size > 1 and command in _PASSES_KEYS_ON:  # it starts runs itself
        raise ConfigError(
            f"darts {command} does not run with torchrun; tune and compare have workers=N instead"
        )
    if size > 1 and {"-m", "--multirun"}.intersection(given):
        raise ConfigError("--multirun starts runs one by one; call torchrun for each of them")
    return ["hydra.run.dir=."] if rank > 0 else []


def _wait_for_other_ranks(error: Exception) -> None:
    """Wait under ``torchrun``, which ends this process as soon as another rank has failed.

    Most errors occur on all ranks, and rank 0 should report them. A RuntimeError, however, may only
    mean that another rank has exited. The other rank then reports the original error.
    """
    rank, size = rank_and_size()
    if rank > 0 or (size > 1 and isinstance(error, RuntimeError)):
        time.sleep(_ERROR_DELAY)


def _is_user_error(error: BaseException) -> bool:
    """Return whether the user can fix an error.

    This holds for a ValueError that this package raised, and for an OSError that names a file.
    """
    if isinstance(error, OSError):
        return error.filename is not None or isinstance(error, WriteError)
    if not isinstance(error, ValueError):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    # By file, since the module of a command started by ``python -m`` is named ``__main__``.
    return bool(frames) and Path(frames[-1].f_code.co_filename).resolve().is_relative_to(_PACKAGE)


def _existing_folders(arguments: Sequence[str]) -> set[Path]:
    """Return the existing folders among those that Hydra may create for the run."""
    places = [Path.cwd(), *Path().glob("runs/*/*"), *values_of("hydra.run.dir", arguments)]
    absolute = [Path(os.path.abspath(str(place))) for place in places]
    folders = {folder for place in absolute for folder in (place, *place.parents)}
    return {folder for folder in folders if folder.exists()}


def _remove_empty(directories: list[Path], existing: set[Path]) -> None:
    """Remove the folders that Hydra created for a run that wrote nothing."""
    for directory in directories:
        for folder in (directory, *directory.parents):
            with suppress(OSError):
                if folder not in existing and not any(folder.iterdir()):
                    folder.rmdir()
                    continue
            break


def _short_warnings(command: str) -> Callable[..., str]:
    """Return a formatter that prints warnings of this package in one line, without source code."""
    default: Callable[..., str] = warnings.formatwarning

    def format_warning(message: object, category: object, filename: str, *line: object) -> str:
        if category is UserWarning and Path(filename).resolve().is_relative_to(_PACKAGE):
            text = for_terminal(" ".join(str(message).splitlines()))
            return f"darts {command}: warning: {text}\n"
        return default(message, category, filename, *line)

    return format_warning
