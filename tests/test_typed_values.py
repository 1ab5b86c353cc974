"""Plain values become objects of their declared types, or an error names the misfit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import pytest
import torch
from msgspec import Meta
from torch import Tensor

from darts.typed_values import Count, Misfit, Name, Number, entry, typed


@dataclass(frozen=True)
class Point:
    x: int
    names: tuple[str, ...]


class Required(TypedDict):
    count: Count
    share: Annotated[float, Meta(ge=0, le=1)]


class Record(Required, total=False):
    point: Point | None


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float | None, None, None),
        (list[int], (1, 2), [1, 2]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[int, float], {1: 0.5}, {1: 0.5}),
        (float, float("inf"), float("inf")),
        (Literal["a", "b"], "b", "b"),
        (Point, {"x": 1, "names": ["a"]}, Point(1, ("a",))),
        (list[Point], [{"x": 1, "names": []}], [Point(1, ())]),
        (Record, {"count": 0, "share": 1}, {"count": 0, "share": 1}),
        (
            Record,
            {"count": 0, "share": 0.5, "point": {"x": 2, "names": ()}},
            {"count": 0, "share": 0.5, "point": Point(2, ())},
        ),
        (Any, {"a": [1]}, {"a": [1]}),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (Record, {"count": 0, "share": 1, "other": "x"}, {"count": 0, "share": 1}),
        (Name, "x" * 1000, "x" * 1000),
    ],
)
def test_values_of_the_declared_type_are_returned(hint: Any, value: Any, expected: Any) -> None:
    result = typed(hint, value, "value")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, True, "value: Expected int, got bool"),
        (int, 1.0, "value: Expected int, got float"),
        (float, "1", "value: Expected float, got str"),
        (float, True, "value: Expected float, got bool"),
        (str, None, "value: Expected str, got null"),
        (int | None, "x", "value: Expected int | null, got str"),
        (list[int], {}, "value: Expected array, got object"),
        (list[int], [1, "x"], "value[1]: Expected int, got str"),
        (tuple[int, int], (1,), "value: Expected array of length 2, got 1"),
        (dict[str, int], {1: 1}, "key in value: Expected str, got int"),
        (dict[str, Point], {"a": {"x": "y"}}, "value[...].x: Expected int, got str"),
        (Literal[0, 1], True, "value: Expected int, got bool"),
        (Annotated[list[int], Meta(max_length=2)], [1, 2, 3], "value: Expected array of length"),
        (Number, 1e101, "value: Expected float <= 1e+100"),
        (Count, -1, "value: Expected int >= 0"),
        (Annotated[float, Meta(ge=0)], float("nan"), "value: Expected float >= 0.0"),
        (Point, {"x": 1}, "value: Object missing required field names"),
        (Record, {"count": 0}, "value: Object missing required field share"),
        (Record, {"count": 0, "share": 2}, "value.share: Expected float <= 1.0"),
        (Tensor, [1.0], "value: Expected Tensor, got list"),
        (dict[str, Tensor], {"a": None}, "value[...]: Expected Tensor, got NoneType"),
        (Literal["a"], "x\n" * 1000, "value: Invalid enum value"),
    ],
)
def test_other_values_are_named_in_one_line(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(Misfit) as caught:
        typed(hint, value, "value")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_tensor_is_returned_as_it_is() -> None:
    tensor = torch.zeros(2)
    assert typed(dict[str, Tensor | None], {"a": tensor, "b": None}, "value")["a"] is tensor
    assert typed(dict[str, Any], {"a": [tensor]}, "value")["a"][0] is tensor


def test_an_entry_is_found_by_its_path() -> None:
    assert entry({"a": {"b": 3}}, "a.b", int) == 3
    for content in ({}, {"a": {}}, {"a": 3}):
        with pytest.raises(Misfit, match=r"^a\.b is missing$"):
            entry(content, "a.b", int)


def test_a_value_without_a_name_is_named_by_its_entry() -> None:
    with pytest.raises(Misfit, match=r"^share: Expected float"):
        typed(Required, {"count": 1, "share": "x"})
    with pytest.raises(Misfit, match=r"^Object missing required field share$"):
        typed(Required, {"count": 1})
