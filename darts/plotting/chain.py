"""Figure of a chain of operations, laid out line by line like text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from darts.plotting.shapes import (
    BOX_WIDTH,
    HEADING,
    INK,
    MARGIN,
    QUIET,
    STATE_HEIGHT,
    STATE_WIDTH,
    CommonEdges,
    EdgeImportance,
    EdgeStyle,
    arrow,
    draw_path,
    heading,
    label,
    make_path,
    operation_box,
    state_box,
)
from darts.plotting.style import ArtistStyle
from darts.spaces import AnyGenotype

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE, _GAP, _TURN = 0.78, 0.36, 0.12
_STROKE: ArtistStyle = {"edgecolor": INK, "linewidth": 1.4}
PER_LINE = 4


def chain_size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    """Return width and height in inches of the figure of a chain, including its heading."""
    blocks = genotype.nodes(cell)
    columns = min(blocks, PER_LINE)
    width = 2 * (MARGIN + STATE_WIDTH) + columns * (BOX_WIDTH + _GAP) + _GAP
    return width, HEADING + math.ceil(blocks / PER_LINE) * _LINE + MARGIN / 2


def draw_chain(
    axes: Axes,
    genotype: AnyGenotype,
    cell: str,
    common: CommonEdges | None,
    gid: str,
    importance: EdgeImportance | None = None,
) -> None:
    """Draw a chain; arguments as for ``darts.plotting.cell.draw_cell``."""
    edges = genotype.edges(cell)
    differs = [None] * len(edges) if common is None else common.differs(edges)
    heading(axes, cell)
    left = MARGIN + STATE_WIDTH
    first = -HEADING - _LINE / 2
    state_box(axes, MARGIN, first, STATE_HEIGHT, "input")
    end = (left, first)  # start of the arrow to the next operation
    for index, (_, number, operation) in enumerate(edges):
        line, column = divmod(index, PER_LINE)
        x, y = left + _GAP + column * (BOX_WIDTH + _GAP), first - line * _LINE
        style = EdgeStyle.for_operation(operation, differs[index])
        loss = None if importance is None else importance.by_cell[cell][index]
        if importance is not None and loss is not None:
            style = EdgeStyle.for_importance(loss / importance.largest)
            label(axes, x + BOX_WIDTH / 2, y - 0.22, importance.label(loss), 7.5, color=INK)
        _draw_connection(axes, end, (x, y), f"{gid}-edge-{index}-curve")
        operation_box(axes, x, y, operation, style, f"{gid}-edge-{index}-box")
        label(axes, x + BOX_WIDTH / 2, y + 0.22, str(number), 7.5, color=QUIET)
        end = (x + BOX_WIDTH, y)
    arrow(axes, [end, (end[0] + _GAP, end[1])], INK, 1.4)
    state_box(axes, end[0] + _GAP, end[1], STATE_HEIGHT, "output")


def _draw_connection(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], gid: str
) -> None:
    """Draw the arrow to the next operation; at a line break it runs between the two lines."""
    (x0, y0), (x1, y1) = start, end
    stops, codes = [(x0, y0), (x1 - 0.1, y1)], "ML"
    if y0 != y1:
        middle, right, left = (y0 + y1) / 2, x0 + _GAP / 2, x1 - 0.6 * _GAP
        stops[1:1] = [(right, y0), (right, middle), (left, middle), (left, y1)]
        codes = "M" + 4 * "LQQ" + "L"
    points = stops[:1]
    for before, corner, after in zip(stops, stops[1:], stops[2:], strict=False):
        points += [_towards(corner, before), corner, _towards(corner, after)]
    points.append(stops[-1])
    draw_path(axes, make_path(points, codes), facecolor="none", zorder=2, gid=gid, **_STROKE)
    arrow(axes, [(x1 - 0.12, y1), (x1, y1)], INK, 1.4)


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the point between a corner and another point where the rounding starts."""
    (x, y), (x1, y1) = corner, other
    fraction = min(_TURN / math.hypot(x1 - x, y1 - y), 0.5)
    return x + fraction * (x1 - x), y + fraction * (y1 - y)
