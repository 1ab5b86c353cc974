"""Line charts as SVG."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darts.reporting.charts import Line, chart, charts, format_ticks, ticks


def points_of(drawing: str) -> list[list[tuple[float, float]]]:
    """Return the points of each polyline of an SVG, in pixels."""
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())]
        for points in re.findall(r'points="([^"]+)"', drawing)
    ]


def test_line_connects_its_points_from_left_to_right() -> None:
    (line,) = points_of(chart([Line("loss", [(1, 4.0), (2, 2.0), (3, 3.0)])], "loss"))
    (x0, y0), (x1, y1), (x2, y2) = line
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert x1 > x0
    assert y0 < y2 < y1  # y points down in SVG
    assert y1 - y2 == pytest.approx((y1 - y0) / 2, abs=0.2)


def test_points_without_finite_numbers_are_skipped() -> None:
    drawing = chart([Line("a", [(1, 1.0), (2, None), (3, math.nan), (4, math.inf), (5, 2.0)])], "a")
    assert [len(line) for line in points_of(drawing)] == [2]
    assert "nan" not in drawing
    assert "inf" not in drawing


def test_lines_without_points_give_no_panel() -> None:
    assert chart([Line("a", [(1, None)]), Line("b", [])], "a") == ""
    assert charts(["", ""]) == ""


def test_line_with_a_single_point_is_a_dot() -> None:
    drawing = chart([Line("a", [(1, 0.5)])], "a")
    assert drawing.count("<circle") == 1
    assert "<polyline" not in drawing


def test_title_and_labels_are_escaped() -> None:
    drawing = chart([Line("<b>&\"'", [(1, 0.0), (2, 1.0)]), Line("c", [(1, 1.0)])], '"><script>')
    tree = ElementTree.fromstring(drawing)
    assert tree[0].text == '"><script>'
    assert {item.text for item in tree.iter("li")} == {"<b>&\"'", "c"}


@settings(deadline=None, max_examples=200)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(1, 6), st.booleans())
@example(low=6.282948590992545e-12, span=1e-6, intervals=1, whole=True)
def test_ticks_are_few_evenly_spaced_and_within_the_range(
    low: float, span: float, intervals: int, whole: bool
) -> None:
    high = low + span
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return  # rounding hides the difference
    found = ticks(low, high, intervals, whole=whole)
    assert len(found) <= intervals + 1
    tolerance = 1e-6 * (high - low) + 1e-9 * max(abs(low), abs(high))
    assert all(low - tolerance <= tick <= high + tolerance for tick in found)
    steps = {round((b - a) / (high - low), 4) for a, b in itertools.pairwise(found)}
    assert len(steps) <= 1
    assert not whole or all(tick == round(tick) for tick in found)


def test_labels_of_ticks_have_as_few_decimals_as_distinguish_them() -> None:
    assert format_ticks([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert format_ticks([2.0791, 2.0792]) == ["2.0791", "2.0792"]
    assert format_ticks([20.0, 40.0], " %") == ["20 %", "40 %"]
    assert format_ticks([0.0, 2.5, 5.0]) == ["0.0", "2.5", "5.0"]
    assert format_ticks([1.0]) == ["1"]
    assert format_ticks([]) == []
