"""Reading the text of a genotype: JSON, and the classic ``Genotype(normal=[...], ...)``.

Only the shape is read here; the genotypes of the spaces check the values. Nothing is ever
evaluated: the classic text is parsed to a syntax tree of which two levels are looked at.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any, NoReturn

SPACE = "cnn"
"""The ``"space"`` that a genotype's JSON names."""

MAX_CHARACTERS = 100_000
_MAX_STATE = 10_000  # keeps range(...) from being spelled out into more memory than there is

PARTS = ("normal", "normal_concat", "reduce", "reduce_concat")
"""What a genotype of the cell-based space consists of."""


def brief(value: object, limit: int = 60) -> str:
    """A repr of one line and bounded length, whatever the value."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # integers of thousands of digits, nested containers
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _refuse(reason: str) -> NoReturn:
    raise ValueError(f"not a genotype: {reason}") from None


class _Parts(dict[str, Any]):
    """The parts read so far, of those that there are.

    Args:
        names: of the parts, in the order of the classic text.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names

    def add(self, name: object, value: Any) -> None:
        if name not in self.names:
            _refuse(f"unknown part {brief(name)}; the parts are {', '.join(self.names)}")
        if name in self:
            _refuse(f"{name} is given twice")
        self[str(name)] = value

    def whole(self) -> dict[str, Any]:
        missing = [name for name in self.names if name not in self]
        if missing:
            _refuse(f"{', '.join(missing)} missing; the parts are {', '.join(self.names)}")
        return dict(self)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its pairs: a dict would silently drop repeated keys."""


def read_object(text: str) -> list[tuple[str, Any]]:
    """A JSON object as its pairs, repeated keys and all (``ValueError`` if it is no object)."""
    if not text:
        raise ValueError("empty text: expected a JSON object")
    try:
        content = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        _refuse(f"bad JSON at line {error.lineno}, column {error.colno}: {brief(error.msg)}")
    except (ValueError, RecursionError, MemoryError):  # integers too long, nested too deeply
        _refuse("JSON too long-winded: numbers with thousands of digits or very deep nesting")
    if not isinstance(content, _Pairs):
        _refuse(f"expected a JSON object, not {brief(content)}")
    return content


def read_part(text: str, space: str, part: str) -> Any:
    """The one part of the JSON genotype ``{"space": ..., <part>: ...}`` of a space, unchecked.

    Raises:
        ValueError: for a text of another form, or of another space.
    """
    pairs = read_object(text)
    if sorted(name for name, _ in pairs) not in ([part], sorted([part, "space"])):
        names = brief([name for name, _ in pairs])
        raise ValueError(f"not a genotype: it holds {names}, where 'space' and '{part}' belong")
    content = dict(pairs)
    if content.get("space", space) != space:
        raise ValueError(
            f"not a genotype: it belongs to the space {brief(content['space'])}, "
            f"and this reader to '{space}'"
        )
    return content[part]


def checked(text: object) -> str:
    """The text of a genotype without what surrounds it.

    Raises:
        ValueError: for what is no text, or too long a one.
    """
    if not isinstance(text, str):
        raise ValueError(f"a genotype is read from text, not from {brief(text)}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"a genotype's text has at most {MAX_CHARACTERS} characters, not {len(text)}"
        )
    return text.removeprefix("\ufeff").strip()


def read_json(text: str, space: str = SPACE, names: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """The parts of a genotype's JSON, unchecked (``ValueError`` if it is not of that form)."""
    content = read_object(text)
    parts = _Parts(names)
    for name, value in content:
        if isinstance(value, _Pairs):
            _refuse(f"{brief(name)} is a JSON object, not a list")
        if name != "space":
            parts.add(name, value)
        elif value != space:
            _refuse(f"it belongs to the space {brief(value)}, and this reader to '{space}'")
    return parts.whole()


# What is left of a genotype without comments. Operators and attribute access are kept out, and so
# are chained calls and subscripts: unbounded chains of those can exhaust the C stack of ast.parse.
_FOREIGN = re.compile(r"[^\w\s()\[\],='\"]|[)\]]\s*[(\[]", re.ASCII)


def read_classic(text: str, names: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """The parts of the classic text, unchecked (``ValueError`` if it is not of that form)."""
    bare = re.sub(r"#[^\r\n]*", "", text).strip()
    foreign = _FOREIGN.search(bare)
    if foreign:
        _refuse(f"{brief(foreign.group())} at character {foreign.start()} of {brief(bare)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about literals such as `1in`, which are refused below
            body = ast.parse(bare).body
    except SyntaxError as error:
        _refuse(f"{brief(bare)} does not read as Genotype(...): {brief(error.msg)}")
    except (ValueError, RecursionError, MemoryError, OverflowError):
        _refuse(f"{brief(bare)} is nested too deeply")
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
        _refuse(f"expected a JSON object or one Genotype(...), not {brief(bare)}")
    if len(call.args) > len(names):
        _refuse(f"{len(call.args)} parts by position, where there are {len(names)}")
    parts = _Parts(names)
    for name, node in zip(names, call.args, strict=False):
        parts.add(name, _read_part(name, node))
    for keyword in call.keywords:
        parts.add(keyword.arg, _read_part(str(keyword.arg), keyword.value))
    return parts.whole()


def _read_part(name: str, node: ast.expr) -> Any:
    """A list of literals or of pairs of literals, or a range: two levels, no recursion."""
    if isinstance(node, ast.Call):
        return _read_range(name, node)
    return [
        tuple(_literal(name, part) for part in item.elts)
        if isinstance(item, (ast.List, ast.Tuple))
        else _literal(name, item)
        for item in _items(name, node)
    ]


def _items(name: str, node: ast.expr) -> list[ast.expr]:
    if not isinstance(node, (ast.List, ast.Tuple)):
        _refuse(f"{name} must be a list or a range(...)")
    return node.elts


def _literal(name: str, node: ast.expr) -> object:
    if not isinstance(node, ast.Constant):
        _refuse(f"{name} may hold only names in quotes and whole numbers")
    return node.value


def _read_range(name: str, node: ast.Call) -> range:
    if not (isinstance(node.func, ast.Name) and node.func.id == "range") or node.keywords:
        _refuse(f"the only call allowed in {name} is range(...)")
    bounds = [_literal(name, argument) for argument in node.args]
    if not 1 <= len(bounds) <= 3:
        _refuse(f"range(...) in {name} takes 1 to 3 numbers, not {len(bounds)}")
    numbers = [n for n in bounds if type(n) is int and n <= _MAX_STATE]
    if len(numbers) != len(bounds) or (len(numbers) == 3 and numbers[2] == 0):
        _refuse(f"range(...) in {name} takes whole numbers up to {_MAX_STATE}, not {brief(bounds)}")
    return range(*numbers)
