"""Text of genotypes: JSON, and the classic ``Genotype(normal=[...], ...)`` notation.

The readers check the syntax only; the genotype classes check the values, with the functions at the
end. No text is ever evaluated: classic text is rewritten as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from darts.reading import JsonObject

MAX_CHARACTERS = 100_000


def short_repr(value: object, limit: int = 60) -> str:
    """Return a repr of one line and bounded length."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # integers of thousands of digits, nested containers
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def strip_text(text: object) -> str:
    """Return the text of a genotype without byte order mark and surrounding white space."""
    if not isinstance(text, str):
        raise ValueError(f"a genotype is read from text, not from {short_repr(text)}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"a genotype's text has at most {MAX_CHARACTERS} characters, not {len(text)}"
        )
    stripped = text.removeprefix("\ufeff").strip()
    if not stripped:
        raise ValueError("empty text: expected a genotype")
    return stripped


def is_json(text: str) -> bool:
    """Return whether stripped text is JSON, valid or not."""
    return text[0] in '{["'


def read_genotype(text: object, space: str, names: Sequence[str]) -> JsonObject:
    """Return the fields of a genotype's text, which is JSON or classic; see ``read_json``."""
    stripped = strip_text(text)
    if is_json(stripped):
        return read_json(stripped, space, names)
    return _read_classic(stripped, names)


def read_json(text: str, space: str, names: Sequence[str]) -> JsonObject:
    """Return the fields with these names of a genotype's JSON object, or raise ValueError."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        _reject(f"bad JSON at line {error.lineno}, column {error.colno}: {short_repr(error.msg)}")
    except (ValueError, RecursionError, MemoryError):  # integers too long, nested too deeply
        _reject("the JSON has numbers with thousands of digits or very deep nesting")
    if not isinstance(fields, dict):
        _reject(f"expected a JSON object, not {short_repr(fields)}")
    declared = fields.pop("space", space)
    if declared != space:
        _reject(f"it belongs to the space {short_repr(declared)}, not to '{space}'")
    _check_names(fields, names)
    return fields


def write_json(space: str, fields: Mapping[str, object]) -> str:
    """Return a JSON object in which each list of a field that is a list of lists has a line."""
    entries = [f'  "space": "{space}"']
    for name, value in fields.items():
        text = json.dumps(value)
        if isinstance(value, (list, tuple)) and isinstance(value[0], (list, tuple)):
            lines = ",\n".join(f"    {json.dumps(line)[1:-1]}" for line in value)
            text = f"[\n{lines}\n  ]"
        entries.append(f'  "{name}": {text}')
    return "{\n" + ",\n".join(entries) + "\n}"


_RANGE = re.compile(r"\brange\(\s*(\d{1,4}(?:\s*,\s*\d{1,4}){0,2})\s*\)", re.ASCII)


def _read_classic(text: str, names: Sequence[str]) -> JsonObject:
    """Return the fields of ``Genotype(...)``, with comments and ``NAME =`` in front allowed."""
    bare = re.sub(r"#[^\r\n]*", "", text).strip()
    call = re.fullmatch(r"(?:\w+\s*=\s*)?Genotype\s*\((.*)\)", bare, re.DOTALL)
    problem = f"expected a JSON object or one Genotype(...), not {short_repr(bare)}"
    if call is None:
        _reject(problem)
    try:
        lists = _RANGE.sub(lambda m: str([*range(*map(int, m[1].split(",")))]), call[1])
        lists = lists.translate(str.maketrans("()'", '[]"'))
        lists = re.sub(r",\s*(?=\]|$)", "", lists)
        # No value is a text, so a text is the name of the next value.
        items = iter(json.loads("[" + re.sub(r"\b(\w+)\s*=", r'"\1",', lists) + "]"))
        unnamed = iter(names)
        fields = [(i, next(items)) if isinstance(i, str) else (next(unnamed), i) for i in items]
    except (ValueError, RecursionError, StopIteration):  # StopIteration: too many or too few values
        _reject(problem)
    _check_names([name for name, _ in fields], names)
    return dict(fields)


def _check_names(found: Iterable[object], names: Sequence[str]) -> None:
    if sorted(map(str, found)) != sorted(names):
        fields = short_repr(list(map(str, found)))
        _reject(f"its fields are {fields}; the fields must be {', '.join(names)}")


def _reject(reason: str) -> NoReturn:
    raise ValueError(f"not a genotype: {reason}") from None


def entries_of(key: str, value: object) -> tuple[Any, ...]:
    """Return a list that is not empty as a tuple; raise ValueError for other values."""
    if not isinstance(value, (list, tuple, range)) or len(value) == 0:
        raise ValueError(f"{key} must be a list with at least one entry, not {short_repr(value)}")
    return tuple(value)


def check_name(problem: str, name: object, names: Collection[str]) -> str:
    """Return a name; raise ValueError, which states the problem, if it is not one of ``names``."""
    if not isinstance(name, str) or name not in names:
        # Genotypes of runs with a plug-in can be read only where the plug-in is installed.
        hint = ", or install the plug-in that defines it" if "operation" in problem else ""
        raise ValueError(f"{problem} {short_repr(name)}; choose from {', '.join(names)}{hint}")
    return name


def check_edge(place: str, pair: object, names: Sequence[str], states: int) -> tuple[str, int]:
    """Return an ``(operation, source)`` pair whose source is less than ``states``."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ValueError(f"{place} is {short_repr(pair)}, not an (operation, source) pair")
    source = pair[1]
    name = check_name(f"{place}: unknown operation", pair[0], names)
    if type(source) is not int or not 0 <= source < states:
        raise ValueError(
            f"{place}: source {short_repr(source)} is not a state from 0 to {states - 1}"
        )
    return name, source


def check_nodes(key: str, states: object, first: int, last: int) -> tuple[int, ...]:
    """Return a list of different nodes from ``first`` to ``last`` as a tuple."""
    nodes = entries_of(key, states)
    for state in nodes:
        if type(state) is not int or not first <= state <= last:
            raise ValueError(
                f"{key}: {short_repr(state)} is not a node; nodes are the states from {first} to "
                f"{last}"
            )
    if len(set(nodes)) != len(nodes):
        raise ValueError(f"{key} lists a state twice: {short_repr(list(nodes))}")
    return nodes
