"""What a user writes on the command line, as Hydra's grammar wants to have it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from darts.config.fields import ConfigError
from darts.config.schema import CompareConfig, TuneConfig

_PATHS = (
    *("genotype", "checkpoint", "resume", "draw", "validate", "out"),
    *("root", "dataset.root", "dataset.label", "hydra.run.dir"),
)
_FLAGS_WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
}
# Commands that run others: keys that are not their own go to those.
_OWN = {
    command: {field.name for field in dataclasses.fields(kind)} | {"experiment", "hydra"}
    for command, kind in {"tune": TuneConfig, "compare": CompareConfig}.items()
}
_OPEN = {  # whose keys are the user's to name
    "tune": ("parameters.", "limits."),
    "compare": ("search.", "retrain.", "settings."),
}
_NEEDS_QUOTES = re.compile(r"[^\w/\\+.$%*@:?|, -]|[^ -~]")
_IS_WRITTEN_FOR_HYDRA = re.compile(r"['\"\[]|.*\$\{")


def prepared(command: str, arguments: list[str]) -> list[str]:
    """Command-line arguments as Hydra shall see them."""
    arguments = handed_on(command, [translated(command, argument) for argument in arguments])
    resume = values_of("resume", arguments)
    if not resume or resume[-1] == "":
        return arguments
    # A resumed run is composed from the overrides it began with and goes on in its own folder.
    saved = [translated(command, item) for item in saved_overrides(command, Path(resume[-1]))]
    folder = str(Path(resume[-1]).resolve())
    return [*saved, *arguments, f"hydra.run.dir={quoted(folder)}"]


def translated(command: str, argument: str) -> str:
    """One argument, with shorthands written out.

    Experiments lie in a folder a command, so ``experiment=x`` stands for
    ``experiment/<command>=x``. A genotype in full is quoted for Hydra's grammar, which would take
    its parentheses and braces for its own; so is a path with a character that the grammar refuses.
    What a study varies, or says to some of its runs, may be added without a plus.
    """
    key, equals, value = argument.partition("=")
    if equals and not key.strip("+~ "):
        raise ConfigError(f"cannot read the override {argument!r}: its key is missing")
    if key == "experiment" and equals:
        return f"experiment/{command}={value}"
    if command == "compare" and key == "method" and equals:
        return f"judged={value}"  # to Hydra, `method` is the group that a search chooses from
    if equals and key.startswith(_OPEN.get(command, ())):
        return f"++{argument}"
    text = value.strip()
    if equals and key in ("genotype", "draw", "validate") and _is_genotype_text(text):
        return f"{key}={quoted(text)}"
    if key in _PATHS and _NEEDS_QUOTES.search(text) and not _IS_WRITTEN_FOR_HYDRA.match(text):
        return f"{key}={quoted(text)}"
    return argument


def handed_on(command: str, arguments: Sequence[str]) -> list[str]:
    """Arguments that are no overrides of the command itself, as the value of one that is.

    ``darts.tune`` and ``darts.compare`` hand keys that are not their own on to what they run, and
    ``darts.report`` takes run directories as they are.

    Raises:
        ConfigError: when such a value is given in both ways.
    """
    if command == "report":
        return _with_runs(arguments)
    if command not in _OWN:
        return list(arguments)
    own: list[str] = []
    others: list[str] = []
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        name = re.split(r"[./@]", key.lstrip("+~"))[0]
        mine = not equals or argument.startswith(("-", "~")) or name in _OWN[command]
        (own if mine else others).append(argument)
    if not others:
        return own
    if any(argument.startswith("overrides=") for argument in own):
        raise ConfigError(f"overrides= and {others[0]} exclude each other; give all as keys")
    return [*own, f"overrides=[{','.join(quoted(text) for text in others)}]"]


def _with_runs(arguments: Sequence[str]) -> list[str]:
    """Run directories among the arguments as ``runs=[...]``; a folder's name may have an ``=``."""
    own: list[str] = []
    runs: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        is_override = "=" in argument and not Path(argument).is_dir()
        if argument.startswith("-") or before in _FLAGS_WITH_VALUE or is_override:
            own.append(argument)
        else:
            runs.append(argument)
    if not runs:
        return own
    if any(argument.startswith("runs=") for argument in own):
        raise ConfigError(f"runs= and {runs[0]} exclude each other; name all directories one way")
    return [*own, f"runs=[{','.join(quoted(text) for text in runs)}]"]


def values_of(key: str, arguments: Sequence[str]) -> list[str]:
    """What the arguments give for a key, without Hydra's quotes; interpolations as written."""
    given = [argument for argument in arguments if argument.startswith(f"{key}=")]
    values = [override.value() for override in OverridesParser.create().parse_overrides(given)]
    return ["" if value is None else str(value) for value in values]


def _is_genotype_text(text: str) -> bool:
    return text.startswith("{") or ("Genotype(" in text and not text.startswith(("'", '"')))


def quoted(text: str) -> str:
    """A value in Hydra's single quotes, where only quotes and backslashes before them count."""
    text = " ".join(text.splitlines())
    escaped = re.sub(r"(\\*)'", r"\1\1\'", text)
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\${", escaped)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def saved_overrides(command: str, directory: Path) -> list[str]:
    """The overrides a run began with.

    Raises:
        ConfigError: when the folder holds no run, or one of another command.
    """
    path = directory / "overrides.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(
            f"resume={str(directory)!r} is no run directory: {path.name} is missing or damaged"
        ) from None
    overrides = saved.get("overrides") if isinstance(saved, dict) else None
    if not isinstance(overrides, list) or not all(isinstance(item, str) for item in overrides):
        raise ConfigError(f"resume={str(directory)!r}: {path.name} is damaged")
    if saved.get("command") != command:
        raise ConfigError(
            f"resume={str(directory)!r} is a run of {saved.get('command')}, not of {command}"
        )
    return overrides
