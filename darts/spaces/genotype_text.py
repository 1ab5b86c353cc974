"""Parsers of genotype text: JSON, and the classic ``Genotype(normal=[...], ...)`` notation.

The parsers check the syntax only; the genotype classes check the values. No text is ever evaluated:
classic text is parsed into a syntax tree, of which only two levels are read.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any, NoReturn

from darts.reading import JsonObject

MAX_CHARACTERS = 100_000
_MAX_STATE = 10_000  # bounds the memory of range(...)


def short_repr(value: object, limit: int = 60) -> str:
    """Return a repr of one line and bounded length."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # integers of thousands of digits, nested containers
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def is_integer(value: object) -> bool:
    """Return whether a value is an int and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def strip_text(text: object) -> str:
    """Return the text of a genotype without byte order mark and surrounding white space.

    Raises:
        ValueError: Not a string, or too long.
    """
    if not isinstance(text, str):
        raise ValueError(f"a genotype is read from text, not from {short_repr(text)}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"a genotype's text has at most {MAX_CHARACTERS} characters, not {len(text)}"
        )
    return text.removeprefix("\ufeff").strip()


def read_json(text: str, space: str, names: tuple[str, ...]) -> JsonObject:
    """Return the fields with these names of a genotype's JSON object, unchecked.

    Raises:
        ValueError: Invalid JSON, another value of ``"space"``, or missing, unknown or repeated
            fields.
    """
    fields = _Fields(names)
    for name, value in _read_object(text):
        if isinstance(value, _Pairs):
            _reject(f"{short_repr(name)} must not be a JSON object")
        if name != "space":
            fields.add(name, value)
        elif value != space:
            _reject(f"it belongs to the space {short_repr(value)}, not to '{space}'")
    return fields.complete()


def read_json_field(text: str, space: str, name: str) -> Any:
    """Return the only field of a genotype's JSON object, unchecked; see ``read_json``."""
    return read_json(text, space, (name,))[name]


class _Pairs(list[tuple[str, object]]):
    """A JSON object as ``(key, value)`` pairs; a dict would silently drop repeated keys."""


def _read_object(text: str) -> _Pairs:
    if not text:
        raise ValueError("empty text: expected a JSON object")
    try:
        content = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        _reject(f"bad JSON at line {error.lineno}, column {error.colno}: {short_repr(error.msg)}")
    except (ValueError, RecursionError, MemoryError):  # integers too long, nested too deeply
        _reject("the JSON has numbers with thousands of digits or very deep nesting")
    if not isinstance(content, _Pairs):
        _reject(f"expected a JSON object, not {short_repr(content)}")
    return content


class _Fields:
    """The fields read so far; ``names`` are the fields that a genotype must have."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._values: dict[str, object] = {}

    def add(self, name: object, value: object) -> None:
        if name not in self._names:
            _reject(f"unknown field {short_repr(name)}; the fields are {', '.join(self._names)}")
        if name in self._values:
            _reject(f"{name} occurs twice")
        self._values[str(name)] = value

    def complete(self) -> dict[str, object]:
        missing = [name for name in self._names if name not in self._values]
        if missing:
            _reject(f"{', '.join(missing)} missing; the fields are {', '.join(self._names)}")
        return self._values


# Matches operators and attribute access, which no genotype contains, and chained calls and
# subscripts: unbounded chains of those can exhaust the C stack of ast.parse.
_FORBIDDEN = re.compile(r"[^\w\s()\[\],='\"]|[)\]]\s*[(\[]", re.ASCII)


def read_classic(text: str, names: tuple[str, ...]) -> JsonObject:
    """Return the fields of classic text, unchecked.

    Args:
        text: ``Genotype(...)``, optionally with comments and preceded by ``NAME =``.
        names: The fields, in the order of positional arguments.

    Raises:
        ValueError: Other text, or missing, unknown or repeated fields.
    """
    bare = re.sub(r"#[^\r\n]*", "", text).strip()
    call = _parse_call(bare)
    if len(call.args) > len(names):
        _reject(f"{len(call.args)} positional fields, but there are {len(names)}")
    fields = _Fields(names)
    for name, node in zip(names, call.args, strict=False):
        fields.add(name, _read_value(name, node))
    for keyword in call.keywords:
        fields.add(keyword.arg, _read_value(str(keyword.arg), keyword.value))
    return fields.complete()


def _parse_call(bare: str) -> ast.Call:
    """Parse text without comments into a call of ``Genotype``."""
    forbidden = _FORBIDDEN.search(bare)
    if forbidden:
        _reject(
            f"unexpected {short_repr(forbidden.group())} at character {forbidden.start()} of "
            f"{short_repr(bare)}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about literals such as `1in`, rejected below
            body = ast.parse(bare).body
    except SyntaxError as error:
        _reject(f"{short_repr(bare)} is not Genotype(...): {short_repr(error.msg)}")
    except (ValueError, RecursionError, MemoryError, OverflowError):
        _reject(f"{short_repr(bare)} is nested too deeply")
    statement = body[0] if len(body) == 1 else None
    if isinstance(statement, ast.Assign) and all(
        isinstance(target, ast.Name) for target in statement.targets
    ):
        call: ast.expr | None = statement.value
    else:
        call = statement.value if isinstance(statement, ast.Expr) else None
    if not (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "Genotype"
    ):
        _reject(f"expected a JSON object or one Genotype(...), not {short_repr(bare)}")
    return call


def _read_value(name: str, node: ast.expr) -> object:
    """Read a range, or a list of literals or tuples of literals: two levels, no recursion."""
    if isinstance(node, ast.Call):
        return _read_range(name, node)
    if not isinstance(node, (ast.List, ast.Tuple)):
        _reject(f"{name} must be a list or a range(...)")
    return [
        tuple(_literal(name, element) for element in item.elts)
        if isinstance(item, (ast.List, ast.Tuple))
        else _literal(name, item)
        for item in node.elts
    ]


def _literal(name: str, node: ast.expr) -> object:
    if not isinstance(node, ast.Constant):
        _reject(f"{name} may hold only quoted names and integers")
    return node.value


def _read_range(name: str, node: ast.Call) -> range:
    if not (isinstance(node.func, ast.Name) and node.func.id == "range") or node.keywords:
        _reject(f"the only call allowed in {name} is range(...)")
    bounds = [_literal(name, argument) for argument in node.args]
    if not 1 <= len(bounds) <= 3:
        _reject(f"range(...) in {name} takes 1 to 3 numbers, not {len(bounds)}")
    numbers = [n for n in bounds if type(n) is int and n <= _MAX_STATE]
    if len(numbers) != len(bounds) or (len(numbers) == 3 and numbers[2] == 0):
        _reject(f"range(...) in {name} takes integers up to {_MAX_STATE}, not {short_repr(bounds)}")
    return range(*numbers)


def _reject(reason: str) -> NoReturn:
    raise ValueError(f"not a genotype: {reason}") from None
