"""The help of ``darts COMMAND --help``: the keys that people use first.

The text of a key is the comment at its field in ``darts/config``. The docstring of a command's
module begins with its purpose and ends with these keys. Both are read from the source: an import
would take seconds.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from darts.plugins import group_options

TEXTS = {
    "experiment": "values that belong together",
    "hydra.run.dir": "the run directory; by default a new one in runs/",
    "log": "what to print: auto, plain, quiet or json",
    "space.channels": "width of the network",
    "space.cells": "depth of the network",
    "parameters.optimizer.lr": "a hyperparameter",
    "parameters.genotype": "the architecture",
    "runs/search/<run>": "run directories, one or several",
}
"""Texts of what has no field in ``darts/config``."""

_PACKAGE = Path(__file__).resolve().parent


class Field(NamedTuple):
    """A field of a configuration dataclass."""

    kind: str  # its annotation
    choices: list[str]
    text: str


def purpose(command: str) -> str:
    """Return what a command does: the first line of its module, without the example."""
    return _docstring(command).partition(": ``darts")[0]


def _docstring(command: str) -> str:
    module = ast.parse((_PACKAGE / f"{command}.py").read_text("utf-8"))
    return ast.get_docstring(module) or ""


@cache
def _classes() -> dict[str, dict[str, Field]]:
    """Return the fields of each dataclass of the configuration, and of those derived from it."""
    classes: dict[str, dict[str, Field]] = {}
    for name in ("options", "datasets", "commands", "many_runs"):
        source = (_PACKAGE / "config" / f"{name}.py").read_text("utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                own = classes[node.name] = dict(_fields(node, source.splitlines()))
                for base in (classes.get(ast.unparse(base), {}) for base in node.bases):
                    own.update({**base, **own})
                    base.update({**own, **base})
    return classes


def _fields(node: ast.ClassDef, lines: list[str]) -> Iterator[tuple[str, Field]]:
    for item in node.body:
        if not isinstance(item, ast.AnnAssign):
            continue
        first, end = item.lineno - 1, item.end_lineno or item.lineno
        comments = [lines[end - 1][item.end_col_offset :]]
        while lines[first - 1].strip().startswith("#"):
            first -= 1
            comments.insert(0, lines[first])
        text = " ".join(comment.strip(" #") for comment in comments).strip(" .")
        value, choices = item.value, list[str]()
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "choice":
            constants = [c.value for c in value.args[1:] if isinstance(c, ast.Constant)]
            if len(constants) == len(value.args[1:]):
                choices = [str(constant) for constant in constants]
        yield ast.unparse(item.target), Field(ast.unparse(item.annotation), choices, text)


def _resolve(kind: str, key: str) -> Field | None:
    """Return the field of a dataclass that a dotted key denotes."""
    field: Field | None = Field(kind, [], "")
    for name in key.split("."):
        field = _classes().get(field.kind, {}).get(name) if field else None
    return field


def describe(command: str, key: str) -> str:
    """Return the text of a key: the comment at its field, its choices, the options of its group."""
    owners = (f"{command.title()}Config", "SearchConfig")  # commands pass keys on to searches
    field = next((found for owner in owners if (found := _resolve(owner, key))), None)
    group = f"experiment/{command}" if key == "experiment" else key
    text = TEXTS.get(key, field.text if field else "")
    choices = [*(field.choices if field else []), *group_options(group)]
    text = text[:1].lower() + text[1:]
    return ": ".join(filter(None, [text, ", ".join(choices)]))


def sections(command: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the titles of the sections of a command, and their keys with example values."""
    text = _docstring(command).partition("Keys that people use first::")[2].strip()
    for line in text.replace("\n        ", " ").splitlines():
        title, _, keys = line.strip().partition(": ")
        yield title, keys.split()


def key_help(command: str) -> str:
    """Return the help of a command, wrapped to 80 columns."""
    lines = [f"darts {command}: {purpose(command)}", ""]
    lines.append(f"usage: darts {command} [key=value ...]")
    indent = " " * 24
    for title, keys in sections(command):
        lines += ["", f"{title}:"]
        for key in keys:
            text = describe(command, key.partition("=")[0])
            start = f"  {key:<20}  " if len(key) <= 20 else f"  {key}\n{indent}"
            wrapped = textwrap.wrap(text, 80, initial_indent=indent, subsequent_indent=indent)
            lines.append(start + "\n".join(wrapped)[len(indent) :])
    lines += ["", f"darts {command} --help-all lists every key."]
    return "\n".join(lines)
