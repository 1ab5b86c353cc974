"""Check plain values from a file, which may be untrusted, against type hints.

The fields of a dataclass or ``TypedDict`` are the schema of a file: one declaration serves the
type checker, the writer and the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from darts.reading import one_line

T = TypeVar("T")

# A whole number that is not negative.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]

# A short string, for example the name of a metric.
Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=1000)]

# A number whose square is finite.
Number: TypeAlias = Annotated[float, msgspec.Meta(ge=-1e100, le=1e100)]


class Misfit(ValueError):
    """A value that does not fit its declared type; the message is one line and names it."""


def typed(kind: type[T], value: object, name: str = "") -> T:
    """Return plain values and tensors as an object of a declared type.

    Lists become what the type declares, keys of a dictionary become numbers if it declares numbers,
    and a dictionary with the fields of a dataclass becomes an object of this dataclass. Entries
    that it does not declare are left out. Strings, booleans and numbers are not converted into each
    other, but ``1`` fits ``float``. The name of the value is for error messages.
    """
    try:
        return msgspec.convert(value, kind, strict=True, str_keys=True, dec_hook=_instance)
    except msgspec.ValidationError as error:
        reason, _, place = one_line(error).replace("`", "").partition(" - at ")
        where = place.replace("$", name).lstrip(".") or name
        raise Misfit(f"{where}: {reason}" if where else reason) from None


def entry(content: Mapping[str, object], name: str, kind: type[T]) -> T:
    """Return a nested entry of a dictionary; dots separate the keys in ``name``, as in ``a.b``."""
    value: object = content
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise Misfit(f"{name} is missing")
        value = value[key]
    return typed(kind, value, name)


def _instance(kind: type, value: object) -> Any:
    """Return an object of a class that msgspec does not know, such as a tensor."""
    if isinstance(value, kind):
        return value
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")
