"""The keys of the commands, read from the source of their dataclasses and from the YAML files.

The dataclasses are not imported, because they import PyTorch, which takes seconds. The text of a
key is the comment at its field, or its entry in the docstring of the class.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import accumulate
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from darts.log_mode import MODES
from darts.plugins import PluginError, conf_folders, group_options

COMMANDS = (
    "find", "search", "retrain", "evaluate", "predict", "export", "report", "judge", "tune",
    "compare", "genotypes", "device",
)  # fmt: skip
# The word that starts a command that takes long, see `darts.confirm`.
YES = "yes=true"
# Commands that pass keys on to their runs, and the command of the runs.
PASSED_ON = {"find": "retrain", "judge": "retrain", "tune": "retrain", "compare": "search"}
LOADS_NETWORKS = ("evaluate", "export", "predict")

_PACKAGE = Path(__file__).resolve().parent
_DEFINITION = re.compile(
    r"^(?:@.*\n)*class (\w+).*\n(?:[ )].*\n|\n)*|^([A-Z\d_]+)(?:: [^=\n]+)? = .+", re.M
)
_COMPONENT = re.compile(r'@(\w+)\.register.*?^    name: str = "(\w+)"', re.M | re.S)
_LIMITS = ("low", "above", "high", "below")
_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.M)


class Key(NamedTuple):
    """What a command accepts as ``key=value``."""

    kind: str  # its type; "name" for an option of a group
    default: Any
    choices: Sequence[str]
    text: str
    limits: Mapping[str, float | None] = {}  # see ``darts.registry.number``


COMMON = {
    "log": Key("str", MODES[0], MODES, "what to print"),
    "hydra.run.dir": Key("str", "DIR", (), "the run directory; by default a new one in runs/"),
}
OWN_MODEL = {"space.target": Key("str", None, (), "package.module:Class of a model of your own")}


def keys_of(command: str, words: Sequence[str] = ()) -> dict[str, Key]:
    """Return the keys of a command by name; its arguments choose the options of groups."""
    options = chosen_options(command, words)
    values, keys = _yaml_values(command, options), dict(_walk(f"{command.title()}Config", options))
    keys = {k: item._replace(default=values.get(k, item.default)) for k, item in keys.items()}
    if (group := f"experiment/{command}") in options:
        names = group_options(group)
        keys["experiment"] = Key("name", options[group], names, "values that belong together")
    return keys


def all_keys(command: str, words: Sequence[str] = ()) -> dict[str, Key]:
    """Return the keys of a command, the keys that it passes on, and the keys of all commands."""
    keys = keys_of(command, words) | COMMON | (OWN_MODEL if command in LOADS_NETWORKS else {})
    if command in PASSED_ON:
        own = {key.partition(".")[0] for key in keys}
        passed = keys_of(PASSED_ON[command], [*keys["base"].default, *words])
        keys |= {key: item for key, item in passed.items() if key.partition(".")[0] not in own}
    return keys


def known_keys(command: str, words: Sequence[str] = ()) -> list[str]:
    """Return the keys of a command and the mappings that hold them.

    The list is empty if a plug-in is broken, or for an unknown command.
    """
    with suppress(PluginError, KeyError):
        keys = keys_of(command, words)
        return sorted({part for k in keys for part in accumulate(k.split("."), "{}.{}".format)})
    return []


def chosen_options(command: str, words: Sequence[str] = ()) -> dict[str, str]:
    """Return the option of each group; experiments, methods and tasks may choose other options."""
    entries = [entry for entry in _yaml(command)["defaults"] if isinstance(entry, dict)]
    options = {k.removeprefix("optional "): v for entry in entries for k, v in entry.items()}
    given = dict(assignments(words)) | {
        f"experiment/{command}": dict(assignments(words)).get("experiment")
    }
    chosen = {group: option for group, option in given.items() if group in options and option}
    for group in (f"experiment/{command}", "method", "task"):
        for file in reversed(_files(group, chosen.get(group, options.get(group)))):
            for entry in file.get("defaults", ()):
                for name, option in entry.items() if isinstance(entry, dict) else ():
                    chosen.setdefault(name.removeprefix("override /"), option)
    return options | chosen


def assignments(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return keys and values of the arguments that set a value."""
    parts = (word.partition("=") for word in words if word != YES)
    return [(key, value) for key, equals, value in parts if equals]


@cache
def _yaml(name: str) -> dict[str, Any]:
    """Return the content of a file in ``conf``; {} if there is none."""
    files = [path for folder in conf_folders() if isfile(path := folder / f"{name}.yaml")]
    return (yaml.safe_load(files[0].read_text("utf-8")) if files else None) or {}


def _files(group: str, option: str | None) -> list[dict[str, Any]]:
    """Return the file of an option, after the files of the same group that it includes."""
    file = _yaml(f"{group}/{option}")
    names = [n for n in map(str, file.get("defaults", ())) if n.isidentifier() and n != "_self_"]
    return [*(found for name in names for found in _files(group, name)), file]


def _yaml_values(command: str, options: Mapping[str, str]) -> dict[str, object]:
    """Return what the files of a command and of the chosen options set, by dotted key."""
    values: dict[str, object] = {}
    for entry in _yaml(command)["defaults"]:
        group = "".join(entry).removeprefix("optional ")
        option = options.get(group) or ""
        option = options[option[2:-1]] if option.startswith("${") else option
        files = _files(group, option)
        if group == "_self_":
            files = [_yaml(command)]
        elif group.startswith("defaults/"):
            section = _yaml(f"defaults/{option}").get(command, {})
            files = [section, section.get("spaces", {}).get(options["space"], {})]
        is_global = "/" in group or group in ("_self_", "method", "network")
        for file in files:
            own = {k: v for k, v in file.items() if k not in ("defaults", "hydra", "spaces")}
            values.update(flatten(own, "" if is_global else f"{group}."))
    return values


def flatten(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted keys of nested dictionaries, with their values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@cache
def _sources() -> dict[str, str]:
    """Return the source of the classes and constants that configurations are made of, by name.

    A name of several things is empty, except for one in ``config``.
    """
    found = dict[str, str]()
    for package in ("data", "methods", "spaces", "strategies", "tasks", "config"):
        for path in (_PACKAGE / package).rglob("*.py"):
            for source in _DEFINITION.finditer(path.read_text("utf-8")):
                name = source[1] or source[2]
                found[name] = "" if name in found and package != "config" else source[0]
    return found


@cache
def _types() -> dict[str, str]:
    """Return the names of the dataclasses of the types, ``group/type``."""
    found = {}
    for name, source in _sources().items():
        if match := _COMPONENT.match(source):
            group = _sources()[match[1]].partition('Registry("')[2].partition('"')[0]
            found[f"{group}/{match[2]}"] = name
        elif name.endswith("Config"):
            kind = name.removesuffix("Config").lower()
            found |= {f"{group}/{kind}": name for group in ("dataset", "executor")}
    return found


def _walk(cls: str, options: Mapping[str, str], prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Yield the keys of a dataclass."""
    for name, item in _fields(cls).items():
        key, nested = prefix + name, item.kind.removesuffix(" | None")
        if not prefix and (option := options.get(key)):
            schema = re.search(rf"/schema/({key}/\w+)", str(_files(key, option)))
            own = _types().get(schema[1]) if schema else None
            # The keys of a component of a plug-in are not known.
            kind = "name" if own or nested not in _sources() else "Any"
            yield key, Key(kind, option, group_options(key), item.text)
            nested = own or nested
        elif nested not in _sources():
            yield key, item
        if nested in _sources():
            yield from _walk(nested, options, f"{key}.")


@cache
def _fields(cls: str) -> dict[str, Key]:
    """Return the fields of a dataclass and of its base classes, in the order of the dataclass."""
    source, fields = _sources()[cls], dict[str, Key]()
    node: Any = ast.parse(source).body[0]
    for base in reversed(node.bases):
        fields |= _fields(name) if (name := ast.unparse(base)) in _sources() else {}
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or "ClassVar" in ast.unparse(item.annotation):
            continue
        key, kind = ast.unparse(item.target), ast.unparse(item.annotation)
        default, *choices = _values(item.value)
        text = _comment(item, source.splitlines()) or (fields[key].text if key in fields else "")
        words = {word.arg: _values(word.value)[0] for word in getattr(item.value, "keywords", ())}
        limits = {k: bound for k, bound in words.items() if k in _LIMITS and bound != "???"}
        choices = ["true", "false"] if kind == "bool" else [] if "???" in choices else choices
        fields[key] = Key(kind, default, choices, text, limits)
    for key, text in _ATTRIBUTE.findall(ast.get_docstring(node) or ""):
        if key in fields:
            text = " ".join(text.replace("``", "").split()).strip(".")
            fields[key] = fields[key]._replace(text=text)
    return fields


def _values(node: Any) -> list[Any]:
    """Return the default of a field and its choices; "???" for what is not a literal."""
    if isinstance(node, ast.Call):
        factories = [word.value for word in node.keywords if word.arg == "default_factory"]
        parts = [getattr(factory, "body", factory) for factory in factories] or node.args
        return [value for part in parts for value in _values(part)] or ["???"]
    if isinstance(node, ast.Starred):
        values = _values(node.value)[0]
        return ["???"] if values == "???" else [*values]
    if isinstance(node, ast.Name) and node.id in ("dict", "list"):
        return [{} if node.id == "dict" else []]
    if isinstance(node, ast.Name) and node.id.isupper() and (source := _sources().get(node.id)):
        return _values(ast.parse(source.partition(" = ")[2], mode="eval").body)
    with suppress(ValueError):  # what needs imports is left out
        return [ast.literal_eval(node)]
    return ["???"]


def _comment(item: ast.AnnAssign, lines: list[str]) -> str:
    """Return the comment at a field, or above it."""
    first = above = item.lineno - 1
    while lines[above - 1].strip().startswith("#"):
        above -= 1
    comments = [*lines[above:first], lines[(item.end_lineno or 0) - 1][item.end_col_offset :]]
    return " ".join(comment.strip(" #") for comment in comments).strip(" .")
