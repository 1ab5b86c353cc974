"""Plain values become objects of their declared types, or an error names the misfit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta
from torch import Tensor

from darts.typed_values import Count, Misfit, Number, entry, typed


@dataclass(frozen=True)
class Point:
    x: int
    names: tuple[str, ...]


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, True, "value: Expected int, got bool"),
        (list[int], [1, "x"], "value[1]: Expected int, got str"),
        (dict[str, int], {1: 1}, "key in value: Expected str, got int"),
        (dict[str, Point], {"a": {"x": "y"}}, "value[...].x: Expected int, got str"),
        (Number, 1e101, "value: Expected float <= 1e+100"),
        (Count, -1, "value: Expected int >= 0"),
        (Annotated[float, Meta(ge=0)], float("nan"), "value: Expected float >= 0.0"),
        (Point, {"x": 1}, "value: Object missing required field names"),
        (Tensor, [1.0], "value: Expected Tensor, got list"),
        (Literal["a"], "x\n" * 1000, "value: Invalid enum value"),
    ],
)
def test_other_values_are_named_in_one_line(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(Misfit) as caught:
        typed(hint, value, "value")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_entry_is_found_by_its_path() -> None:
    assert entry({"a": {"b": 3}}, "a.b", int) == 3
    for content in ({}, {"a": {}}, {"a": 3}):
        with pytest.raises(Misfit, match=r"^a\.b is missing$"):
            entry(content, "a.b", int)
