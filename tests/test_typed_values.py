"""Plain values become objects of their declared types, or an error names the misfit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import pytest

from darts.typed_values import (
    AtMost,
    Count,
    Misfit,
    Name,
    Number,
    PlainDict,
    PlainRow,
    Within,
    entry,
    shown,
    typed,
    typed_entries,
)


@dataclass(frozen=True)
class Point:
    x: int
    names: tuple[str, ...]


class Required(TypedDict):
    count: Count
    share: Annotated[float, Within(0, 1)]


class Record(Required, total=False):
    point: Point | None


def nested(depth: int) -> list[Any]:
    """Return an empty list in lists; ``depth`` lists in all."""
    return [nested(depth - 1)] if depth > 1 else []


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 3, 3),
        (float, 3, 3),
        (float | None, None, None),
        (list[int], (1, 2), [1, 2]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[int, float], {1: 0.5}, {1: 0.5}),
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
        (PlainRow, {"a": 1, "b": None, "c": True}, {"a": 1, "b": None, "c": True}),
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
        (int, True, "value is True; it must be a whole number"),
        (int, 1.0, "value is 1.0; it must be a whole number"),
        (float, "1", "value is '1'; it must be a number"),
        (float, True, "value is True; it must be a number"),
        (str, None, "value is None; it must be a string"),
        (int | None, "x", "value is 'x'; it must be a whole number"),
        (list[int], {}, "value is a dict; it must be a list"),
        (list[int], [1, "x"], r"value\[1\] is 'x'; it must be a whole number"),
        (tuple[int, int], (1,), "value has 1 items; it must have 2"),
        (dict[str, int], {1: 1}, "a key of value is 1; it must be a string"),
        (dict[str, int], {"a": None}, "value.a is None"),
        (Literal[0, 1], True, "value is True; it must be 0 or 1"),
        (PlainDict, {"a": [{"b": object()}]}, r"value.a\[0\].b is a object; it must be a plain"),
        (PlainDict, {"a": {1: 2}}, "a key of value.a is 1; it must be a string"),
        (PlainDict, {"a": {"b": float("inf")}}, "value.a.b is inf; it must be between"),
        (PlainDict, {"a": 2**64}, "it must be between"),
        (PlainDict, {"a": ["x" * 20_001]}, r"value.a\[0\] has length 20,001; it must have at most"),
        (PlainDict, {"a": nested(12)}, "is a list; it must be a plain value"),
        (PlainRow, {"a": [1]}, "value.a is a list; it must be a plain value"),
        (PlainRow, {str(n): n for n in range(1001)}, "value has length 1,001"),
        (Annotated[list[int], AtMost(2)], [1, 2, 3], "value has length 3; it must have at most 2"),
        (Number, 1e101, "value is 1e\\+101; it must be between"),
        (Count, -1, "value is -1; it must be between 0"),
        (Count, 2**63, "it must be between 0"),
        (Annotated[float, Within(0)], float("nan"), "value is nan; it must be at least 0"),
        (Point, {"x": 1}, "value.names is missing"),
        (Point, {"x": 1, "names": (), "y": 2}, "value has the unknown entry 'y'"),
        (Record, {"count": 0}, "value.share is missing"),
        (Record, {"count": 0, "share": 2}, "value.share is 2; it must be between 0 and 1"),
    ],
)
def test_other_values_are_named_in_one_line(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(Misfit, match=message) as caught:
        typed(hint, value, "value")
    assert "\n" not in str(caught.value)


def test_an_entry_is_found_by_its_path() -> None:
    assert entry({"a": {"b": 3}}, "a.b", int) == 3
    for content in ({}, {"a": {}}, {"a": 3}):
        with pytest.raises(Misfit, match=r"^a\.b is missing$"):
            entry(content, "a.b", int)


def test_entries_that_are_not_declared_are_left_out() -> None:
    content = {"count": 1, "share": 0.5, "other": "x"}
    assert typed_entries(Required, content) == {"count": 1, "share": 0.5}
    with pytest.raises(Misfit, match=r"^share is missing$"):
        typed_entries(Required, {"count": 1})


def test_long_values_are_shortened_in_messages() -> None:
    assert len(shown("x" * 10**6)) == 60
    assert shown([1] * 10**6) == "a list"
    with pytest.raises(Misfit) as caught:
        typed(dict[str, int], {"k" * 10**6: "x" * 10**6}, "value")
    assert len(str(caught.value)) < 300
