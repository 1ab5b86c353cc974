"""The one door through which the outside comes in: command line and YAML to plain dataclasses.

Hydra composes; the result is turned into the command's dataclass once, checked, and handed on with
the run's directory. Whatever is wrong ends here in one line on standard error and exit code 2.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from darts.config import errors, store
from darts.config.fields import ConfigError, check_fields


@dataclasses.dataclass(frozen=True)
class Invocation:
    """How a command was called: where it writes, and the overrides it was given."""

    directory: Path
    overrides: tuple[str, ...]


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
    directory: list[Path] = []
    result: list[Any] = []

    def run(composed: DictConfig) -> None:
        directory.append(Path(HydraConfig.get().runtime.output_dir))
        config = OmegaConf.to_object(composed)
        check_fields(config)
        check(config)
        overrides = tuple(HydraConfig.get().overrides.task)
        result.append(task(config, Invocation(directory[-1], overrides)))

    previous_arguments, previous_flag = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # Errors shall reach the handler below, which puts them into one line, not be printed by Hydra.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        sys.argv = [f"darts.{command}", *_prepared(command, given)]
        hydra.main(version_base="1.3", config_path=str(store.conf_folder()), config_name=command)(
            run
        )()
    except (HydraException, OmegaConfBaseException) as error:
        _leave(command, errors.one_line(error, _known_keys(command)))
    except (ValueError, FileNotFoundError) as error:
        if not _is_users(error):
            raise
        _leave(command, " ".join(str(error).split("\n")))
    finally:
        sys.argv = previous_arguments
        _remove_if_empty(directory)
        if previous_flag is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = previous_flag
    return result[-1] if result else None


def compose(command: str, overrides: Sequence[str] = ()) -> Any:
    """The checked configuration of a command without running it, for tests and scripts.

    Raises:
        ConfigError: as ``launch`` would print it.
    """
    store.register()
    try:
        with hydra.initialize_config_dir(str(store.conf_folder()), version_base="1.3"):
            composed = hydra.compose(command, [_translated(command, o) for o in overrides])
        config: Any = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(errors.one_line(error, _known_keys(command))) from None
    check_fields(config)
    return config


def _prepared(command: str, arguments: list[str]) -> list[str]:
    """Command-line arguments as Hydra shall see them."""
    arguments = [_translated(command, argument) for argument in arguments]
    resume = [a.partition("=")[2].strip("'\"") for a in arguments if a.startswith("resume=")]
    if not resume or resume[-1] in ("", "null"):
        return arguments
    # A resumed run is composed from the overrides it began with and goes on in its own folder.
    saved = [_translated(command, item) for item in saved_overrides(Path(resume[-1]))]
    folder = str(Path(resume[-1]).resolve())
    return [*saved, *arguments, f"hydra.run.dir={_quoted(folder)}"]


def _translated(command: str, argument: str) -> str:
    """One argument, with two shorthands written out.

    Experiments lie in a folder a command, so ``experiment=x`` stands for
    ``experiment/<command>=x``. A genotype in full is quoted for Hydra's grammar, which would take
    its parentheses and braces for its own.
    """
    key, equals, value = argument.partition("=")
    if key == "experiment" and equals:
        return f"experiment/{command}={value}"
    text = value.strip()
    if equals and key in ("genotype", "draw", "validate") and _is_genotype_text(text):
        return f"{key}={_quoted(text)}"
    return argument


def _is_genotype_text(text: str) -> bool:
    return text.startswith("{") or ("Genotype(" in text and not text.startswith(("'", '"')))


def _quoted(text: str) -> str:
    """A value in Hydra's single quotes, where only quotes and backslashes before them count."""
    escaped = text.replace("\\'", "\\\\'").replace("'", "\\'").replace("${", "\\${")
    if escaped.endswith("\\"):
        escaped += "\\"
    return f"'{' '.join(escaped.splitlines())}'"


def saved_overrides(directory: Path) -> list[str]:
    """The overrides a run began with.

    Raises:
        ConfigError: when the folder holds no run.
    """
    path = directory / "overrides.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(
            f"resume={str(directory)!r} is no run directory: {path.name} is missing or damaged"
        ) from None
    if not isinstance(saved, list) or not all(isinstance(item, str) for item in saved):
        raise ConfigError(f"resume={str(directory)!r}: {path.name} is damaged")
    return saved


def _known_keys(command: str) -> list[str]:
    """All keys of a command's default configuration and its groups, for error messages."""
    with suppress(Exception):
        with hydra.initialize_config_dir(str(store.conf_folder()), version_base="1.3"):
            composed = hydra.compose(command, ["hydra.job.name=keys"], return_hydra_config=True)
        groups = [g for g in composed.hydra.runtime.choices if not g.startswith("hydra/")]
        plain: Any = OmegaConf.to_container(composed, resolve=False)
        plain.pop("hydra", None)
        groups = ["experiment" if g.startswith("experiment/") else g for g in groups]
        return sorted({*errors.dotted_keys(plain), *(g for g in groups if "/" not in g)})
    return []


def _is_users(error: BaseException) -> bool:
    """Whether an error was raised by this package on purpose, rather than by a bug further down."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("darts.")


def _remove_if_empty(directory: list[Path]) -> None:
    """Take away the folder that Hydra made for a run that wrote nothing."""
    for folder in directory:
        with suppress(OSError):
            folder.rmdir()


def _leave(command: str, message: str) -> NoReturn:
    """Print one line and exit."""
    print(f"darts.{command}: {message}", file=sys.stderr)
    raise SystemExit(2)
