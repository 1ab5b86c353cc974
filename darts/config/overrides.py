"""Translation of command-line arguments into overrides that Hydra's grammar accepts."""

from __future__ import annotations

import dataclasses
import numbers
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from darts.config.commands import DEVICE_ACTIONS
from darts.config.fields import ConfigError
from darts.config.groups import COMMANDS, TYPES
from darts.key_checks import with_checkpoint
from darts.plugins import group_options
from darts.reading import FileError, read_json_object

# Keys, without the group, whose values may have characters that Hydra's grammar does not accept.
_GENOTYPE_KEYS = ("genotype", "draw", "validate")
_FILE_KEYS = (
    "genotypes", "checkpoint", "resume", "out", "root", "label", "table", "dir", "input", "output",
    "model", "weights",
)  # fmt: skip
_PATH_KEYS = (*_GENOTYPE_KEYS, *_FILE_KEYS)
_FLAG_WITH_VALUE = re.compile(
    r"--(cfg|package|config-(path|name|dir)|info|experimental-rerun)|-(c|p|cp|cn|cd|i)"
)
# Keys of the commands that run other commands; they pass on all other keys.
_OWN_KEYS = {
    command: {field.name for field in dataclasses.fields(COMMANDS[command])}
    | {"experiment", "hydra"}
    for command in ("find", "tune", "compare", "judge")
}
_OWN_KEYS["judge"].remove("experiment")  # passed on: an experiment describes the networks
# Keys of arguments without an equals sign.
_POSITIONAL = {"report": "runs", "predict": "input"}
_OPEN_MAPPINGS = {  # mappings that accept any key
    "search": ("limit.sizes.",),
    "tune": ("parameters.",),
    "compare": ("search.", "retrain.", "settings."),
}
_NEEDS_QUOTES = re.compile(r"[^\w/\\+.$%*@:?|, -]|[^ -~]")
_OPEN_KEY = "|".join(map(re.escape, _OPEN_MAPPINGS["search"]))
_PLAIN_OVERRIDE = re.compile(  # translated overrides of an open mapping have a prefix
    rf"(\+\+(?={_OPEN_KEY}))?(?P<key>[a-z_]+)(\.\w+)*=.*|experiment/[a-z]+=\w+", re.S
)
# The word in place of a run directory.
LATEST = "latest"

RUNS = Path("runs")
_IS_GENOTYPE = re.compile(r"\{|(?!['\"]).*Genotype\(", re.S)
_RESERVED = ("true", "false", "null", "nan", "inf")  # words that are not texts without quotes
_IS_HYDRA_SYNTAX = re.compile(r"['\"\[]|.*\$\{")


def hydra_overrides(command: str, overrides: Sequence[str]) -> list[str]:
    """Translate the overrides that a user writes for a command into overrides for Hydra."""
    overrides = with_checkpoint(command, overrides)
    if command == "report" and LATEST in overrides:
        overrides = [str(latest_run(command, "runs")) if o == LATEST else o for o in overrides]
    return _collect_foreign(command, [_translate(command, item) for item in overrides])


def _translate(command: str, argument: str) -> str:
    """Translate one argument.

    * ``experiment=x`` becomes ``experiment/<command>=x``: each command has a folder of experiments.
      ``darts judge`` has none. It passes ``experiment=x`` on to ``darts retrain``, whose
      configuration describes its networks.
    * ``latest`` as a genotype, checkpoint or run to resume becomes the newest such run.
    * Genotype text and paths are quoted where Hydra's grammar does not accept their characters.
    * ``input`` of ``darts predict`` is a list; one value becomes a list, and is quoted.
    * Keys of open mappings, such as ``parameters.``, get the prefix ``++``.
    * ``darts device fit`` is short for ``darts device action=fit``, and ``pretrained=auto`` for
      ``pretrained.weights=auto``.
    """
    key, equals, value = argument.partition("=")
    text = value.strip()
    if command == "device" and argument in DEVICE_ACTIONS:
        return f"action={argument}"
    if not equals:
        return argument
    if text == LATEST and command == "genotypes":
        return f"{key}={quoted(str(latest_run(command, 'genotype')))}"
    if text == LATEST and key in ("genotype", "checkpoint", "resume"):
        return f"{key}={quoted(str(latest_run(command, key)))}"
    if not key.strip("+~ "):
        raise ConfigError(f"cannot read the override {argument!r}: its key is missing")
    if (key in TYPES or key == "method") and text in ("null", ""):
        choices = ", ".join(group_options(key))
        raise ConfigError(f"{key}={value} chooses nothing; choose from {choices}")
    if key == "experiment" and command != "judge":
        return f"experiment/{command}={value}"
    if command == "compare" and key == "method":
        return f"method_name={value}"  # for Hydra, `method` is a config group
    if command == "find" and key == "pretrained":
        return _translate(command, f"pretrained.weights={value}")
    if key.startswith(_OPEN_MAPPINGS.get(command, ())):
        return f"++{argument}"
    if command == "predict" and key == "input":
        is_syntax = "${" in text or re.fullmatch(r"(['\"]).*\1", text)
        is_list = re.fullmatch(r"\[.*\]", text)
        return argument if is_list else f"input=[{text if is_syntax else quoted(text)}]"
    is_path = key.rpartition(".")[2] in _PATH_KEYS
    is_unreadable = _NEEDS_QUOTES.search(text) and not _IS_HYDRA_SYNTAX.match(text)
    if (key in _GENOTYPE_KEYS and _IS_GENOTYPE.match(text)) or (is_path and is_unreadable):
        return f"{key}={quoted(text)}"
    return argument


def _collect_foreign(command: str, arguments: Sequence[str]) -> list[str]:
    """Collect the arguments that are not overrides of the command in one override.

    ``darts find``, ``darts tune``, ``darts compare`` and ``darts judge`` collect, as
    ``overrides=[...]``, the keys for the commands that they run. ``darts report`` collects run
    directories as ``runs=[...]``, and ``darts predict`` inputs as ``input=[...]``.
    """
    if command not in (*_POSITIONAL, *_OWN_KEYS):
        return list(arguments)
    collected = _POSITIONAL.get(command, "overrides")
    own: list[str] = []
    foreign: list[str] = []
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        key, equals, _ = argument.partition("=")
        if command in _POSITIONAL:  # the name of a file or folder may contain an equals sign
            is_flag = argument.startswith("-") and argument != "-"
            is_value = is_flag or bool(_FLAG_WITH_VALUE.fullmatch(previous))
            is_own = is_value or ("=" in argument and not os.path.exists(argument))
        else:
            name = re.split(r"[./@]", key.lstrip("+~"))[0]
            is_own = not equals or argument.startswith(("-", "~")) or name in _OWN_KEYS[command]
        (own if is_own else foreign).append(argument)
    if not foreign:
        return own
    if any(argument.startswith(f"{collected}=") for argument in own):
        raise ConfigError(f"{collected}= and {foreign[0]} are mutually exclusive; use one of them")
    # The parser does not accept overrides on both sides of a flag, and flags are often last.
    return [f"{collected}=[{','.join(map(quoted, foreign))}]", *own]


def latest_run(command: str, key: str) -> Path:
    """Return the run that ``latest`` denotes as the value of a key.

    For ``genotype`` it is the newest complete search, for ``checkpoint`` the newest retraining, for
    ``resume`` the newest run of the command that is not complete, and for ``runs`` the newest run
    that ``darts report`` shows; runs of ``darts find`` count as searches and as retrainings. Only
    the folder ``runs`` in the current folder is searched, to the depth of the default
    ``runs/<command>/<name>/<time>``.
    """
    places: dict[str, tuple[tuple[str, ...], Callable[[Path], bool]]] = {
        "genotype": (("search", "find"), lambda run: (run / "genotype.json").is_file()),
        "checkpoint": (("retrain", "find"), lambda run: (run / "checkpoint.safetensors").is_file()),
        "resume": ((command,), lambda run: not (run / "summary.json").exists()),
        "runs": (("search", "find", "retrain", "tune"), Path.is_dir),
    }
    commands, needed = places[key]
    found = [
        ((run / "config.yaml").stat().st_mtime_ns, run)
        for run in _runs_in(RUNS)
        if needed(run) and _command_of(run) in commands
    ]
    if not found:
        runs = " or ".join(f"darts {name}" for name in commands)
        raise ConfigError(f"{key}={LATEST}: there is no such run of {runs} in the folder {RUNS}")
    return max(found)[1]


def _runs_in(folder: Path, depth: int = 3) -> Iterator[Path]:
    """Yield the run directories in a folder, but not those inside other runs."""
    for child in folder.iterdir() if folder.is_dir() else ():
        if (child / "config.yaml").is_file():
            yield child
        elif depth > 1:
            yield from _runs_in(child, depth - 1)


def _command_of(run: Path) -> str:
    """Return the command of a run; empty if the record is missing or damaged."""
    with suppress(OSError, FileError):
        return str(read_json_object(run / "overrides.json").get("command"))
    return ""


def quoted(text: str) -> str:
    """Return a value in Hydra's single quotes; quotes, backslashes and ``${`` are escaped."""
    text = " ".join(text.splitlines())
    escaped = re.sub(r"(\\*)'", r"\1\1\'", text)
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\${", escaped)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def value_text(key: str, value: object) -> str:
    """Return the value of a key in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Real):  # also NumPy's
        return repr(int(value) if isinstance(value, numbers.Integral) else float(value))
    if isinstance(value, str | Path):
        text = str(value)
        plain = re.fullmatch(r"[A-Za-z_/][\w./-]*", text) and text.lower() not in _RESERVED
        return text if plain else quoted(text)
    if isinstance(value, Mapping) and "." in key:  # others are groups of keys
        items = (f"{name}:{value_text(key, item)}" for name, item in value.items())
        return f"{{{','.join(items)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(value_text(key, item) for item in value)}]"
    raise ConfigError(
        f"{key}={value!r}: must be a string, a number, True, False, None, or a list or mapping of "
        "these; set "
        f'single keys with overrides=["{key}.<key>=<value>"]'
    )


def is_plain_override(override: str) -> bool:
    """Return whether an override only sets a key to a value.

    Only such overrides may come from a file. Others can do more than set a value: keys of Hydra
    import and call functions, flags and packages change what is composed, and an interpolation
    can read an environment variable.
    """
    match = _PLAIN_OVERRIDE.fullmatch(override)
    return match is not None and match["key"] != "hydra" and "${" not in override


def require_plain_overrides(command: str, overrides: Sequence[str]) -> None:
    """Raise ConfigError for the first override of a run that does more than set a value."""
    for override in overrides:
        if not is_plain_override(override):
            raise ConfigError(
                f"{override!r}: a run of darts {command} started by another command accepts only "
                "key=value, without interpolation and keys of Hydra"
            )
