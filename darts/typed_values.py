"""Check plain values from a file, which may be untrusted, against type hints.

The fields of a dataclass or ``TypedDict`` are the schema of a file: one declaration serves the
type checker, the writer and the reader.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

T = TypeVar("T")


Hint: TypeAlias = Any
"""Any type hint; Python has no type that covers all of them."""


class Misfit(ValueError):
    """A value that does not fit its declared type; the message is one line and names it."""


@dataclass(frozen=True)
class Within:
    """Limits of a number, for use in ``Annotated``. NaN is outside all limits."""

    low: float
    high: float = math.inf

    def check(self, value: float, name: str) -> None:
        """Refuse a number outside the limits.

        Raises:
            Misfit: If the number is outside the limits.
        """
        if not self.low <= value <= self.high:
            limits = f"at least {self.low:g}"
            if math.isfinite(self.high):
                limits = f"between {self.low:g} and {self.high:g}"
            raise Misfit(f"{name} is {shown(value)}; it must be {limits}")


Count: TypeAlias = Annotated[int, Within(0, 2**62)]
"""A whole number that is not negative."""


@dataclass(frozen=True)
class AtMost:
    """Limit of the length of a string, list or dictionary, for use in ``Annotated``."""

    length: int

    def check(self, value: Sized, name: str) -> None:
        """Refuse a longer value.

        Raises:
            Misfit: If the value is longer.
        """
        if len(value) > self.length:
            raise Misfit(f"{name} has length {len(value):,}; it must have at most {self.length:,}")


_LONGEST_NAME = AtMost(1000)
Name: TypeAlias = Annotated[str, _LONGEST_NAME]
"""A short string, for example the name of a metric."""

_NUMBERS = Within(-1e100, 1e100)
Number: TypeAlias = Annotated[float, _NUMBERS]
"""A number whose square is finite."""


@dataclass(frozen=True)
class OnlyPlain:
    """Limit of a value, for use in ``Annotated``: only what JSON has, and of bounded size.

    Attributes:
        depth: Maximum depth of nested lists and dictionaries. With 0 the value is a string, a
            number, a boolean or None.
    """

    depth: int = 12

    def check(self, value: object, name: str) -> None:
        """Refuse an object of another type, a value that is too large, and deep nesting.

        Raises:
            Misfit: With the name of the first such value.
        """
        if isinstance(value, str):
            _LONGEST_TEXT.check(value, name)
        elif isinstance(value, dict) and self.depth > 0:
            _MOST_KEYS.check(value, name)
            inner = OnlyPlain(self.depth - 1)
            for key, item in value.items():
                key_name = f"a key of {name}"
                _LONGEST_NAME.check(typed(str, key, key_name), key_name)
                inner.check(item, _inner(name, key))
        elif isinstance(value, (list, tuple)) and self.depth > 0:
            inner = OnlyPlain(self.depth - 1)
            for number, item in enumerate(value):
                inner.check(item, f"{name}[{number}]")
        elif isinstance(value, int) or value is None:  # a boolean is an int
            _INTEGERS.check(value or 0, name)
        elif isinstance(value, float):
            _NUMBERS.check(value, name)
        else:
            raise Misfit(f"{name} is {shown(value)}; it must be a plain value")


_LONGEST_TEXT = AtMost(20_000)  # characters; the text of a genotype is the longest
_MOST_KEYS = AtMost(1000)
_INTEGERS = Within(-(2**63), 2**63)

PlainDict: TypeAlias = Annotated[dict[str, Any], OnlyPlain()]
"""Nested plain values by name, for example a configuration."""

PlainRow: TypeAlias = Annotated[dict[str, Any], OnlyPlain(depth=1)]
"""Plain values by name, for example a row of metrics or a summary."""


def typed(hint: type[T], value: object, name: str) -> T:
    """Return a plain value as an object of its declared type.

    Lists and tuples become what the hint declares, and a dictionary with the fields of a dataclass
    becomes an object of this dataclass. Numbers and strings are not converted: ``True`` is not a
    number, and ``1.0`` is not a whole number; ``1`` fits ``float`` and stays an ``int``.

    Args:
        hint: Type, for example ``list[int]``, ``float | None``, a dataclass or a ``TypedDict``.
            Never take it from a file: annotations that are strings are evaluated as code.
        value: Nested plain values.
        name: Name of the value for error messages.

    Raises:
        Misfit: If the value or a nested value has another type.
    """
    return cast("T", _typed(hint, value, name))


def entry(content: Mapping[str, object], name: str, hint: type[T]) -> T:
    """Return a nested entry of a dictionary; dots separate the keys in ``name``, as in ``a.b``.

    Raises:
        Misfit: If the entry is missing, or has another type.
    """
    value: object = content
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise Misfit(f"{name} is missing")
        value = value[key]
    return typed(hint, value, name)


def typed_entries(schema: type[T], content: Mapping[str, object]) -> T:
    """Return the entries that a ``TypedDict`` declares; other entries are left out.

    Raises:
        Misfit: If an entry is missing, or has another type.
    """
    names = get_type_hints(schema)
    return typed(schema, {name: content[name] for name in names if name in content}, "")


def shown(value: object) -> str:
    """Return a short text for a value in a message; for containers and objects, their type."""
    if not isinstance(value, (str, int, float, bool, type(None))):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _typed(hint: Hint, value: object, name: str) -> object:
    if hint is float or hint is int or hint is str:  # most values; saves half the time
        return _scalar(hint, value, name)
    origin: object = get_origin(hint)
    arguments = get_args(hint)
    if hint is Any or hint is object:
        return value
    if origin is Annotated:
        value = _typed(arguments[0], value, name)
        for limit in arguments[1:]:
            limit.check(value, name)
        return value
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, name)
    if origin is Literal:
        if type(value) is bool or value not in arguments:
            raise Misfit(f"{name} is {shown(value)}; it must be {_words(arguments)}")
        return value
    if is_typeddict(hint):
        hints = get_type_hints(hint, include_extras=True)
        return _fields(hints, hint.__required_keys__, value, name)
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        return cast("type", hint)(**_fields(hints, frozenset(hints), value, name))
    if origin in (dict, Mapping) or hint is dict:
        key_hint, value_hint = arguments or (Any, Any)
        items = _expect((dict,), "a dictionary", value, name).items()
        return {
            _typed(key_hint, key, f"a key of {name}"): _typed(value_hint, item, _inner(name, key))
            for key, item in items
        }
    if origin in (list, Sequence) or hint is list:
        items = _expect((list, tuple), "a list", value, name)
        (item_hint,) = arguments or (Any,)
        return [_typed(item_hint, item, f"{name}[{i}]") for i, item in enumerate(items)]
    if origin is tuple:
        return _tuple(arguments, value, name)
    return _scalar(hint, value, name)


def _scalar(hint: Hint, value: object, name: str) -> object:
    """Return the value if it is of a class; the hint None stands for the type of None."""
    if hint is None or hint is type(None):
        fits, noun = value is None, "None"
    elif hint is float:
        fits, noun = isinstance(value, (int, float)) and type(value) is not bool, "a number"
    elif hint is int:
        fits, noun = isinstance(value, int) and type(value) is not bool, "a whole number"
    else:
        nouns = {str: "a string", bool: "True or False"}
        fits, noun = isinstance(value, hint), nouns.get(hint, f"a {hint.__name__}")
    if not fits:
        raise Misfit(f"{name} is {shown(value)}; it must be {noun}")
    return value


def _one_of(hints: Sequence[Hint], value: object, name: str) -> object:
    """Return the value as the first of the hints that it fits."""
    misfits: list[Misfit] = []
    for hint in hints:
        try:
            return _typed(hint, value, name)
        except Misfit as misfit:
            misfits.append(misfit)
    # The first hint makes the best message: the last one is usually None.
    raise misfits[0]


def _tuple(hints: Sequence[Hint], value: object, name: str) -> tuple[object, ...]:
    items = _expect((list, tuple), "a tuple", value, name)
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = [hints[0]] * len(items)
    if len(items) != len(hints):
        raise Misfit(f"{name} has {len(items)} items; it must have {len(hints)}")
    pairs = enumerate(zip(hints, items, strict=True))
    return tuple(_typed(hint, item, f"{name}[{i}]") for i, (hint, item) in pairs)


def _fields(
    hints: Mapping[str, Hint], required: frozenset[str], value: object, name: str
) -> dict[str, object]:
    """Return the entries of a dictionary, each checked against the hint of its key."""
    items = _expect((dict,), "a dictionary", value, name)
    unknown = [key for key in items if key not in hints]
    if unknown:
        raise Misfit(f"{name} has the unknown entry {shown(unknown[0])}")
    missing = [key for key in hints if key in required and key not in items]
    if missing:
        raise Misfit(f"{_inner(name, missing[0])} is missing")
    return {key: _typed(hints[key], item, _inner(name, key)) for key, item in items.items()}


def _expect(kinds: tuple[type, ...], noun: str, value: object, name: str) -> Any:
    if not isinstance(value, kinds):
        raise Misfit(f"{name} is {shown(value)}; it must be {noun}")
    return value


def _inner(name: str, key: object) -> str:
    key = str(key) if isinstance(key, int) else key
    text = key if isinstance(key, str) and len(key) <= 60 else shown(key)
    return f"{name}.{text}" if name else text


def _words(choices: Sequence[object]) -> str:
    return " or ".join(map(repr, choices))
