"""The picture of a chain of operations: read line by line, as text is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from darts.plotting.shapes import (
    BOX_WIDTH,
    HEADING,
    INK,
    MARGIN,
    QUIET,
    STATE_HEIGHT,
    STATE_WIDTH,
    EdgeStyle,
    EdgeImportance,
    CommonEdges,
    arrow,
    heading,
    label,
    operation_box,
    patch,
    route,
    state,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE, _GAP, _TURN = 0.78, 0.36, 0.12
_STROKE: dict[str, Any] = {"edgecolor": INK, "linewidth": 1.4}
PER_LINE = 4


def chain_size(genotype: Any, cell: str) -> tuple[float, float]:
    """Width and height in inches of the picture of a chain, its heading included."""
    blocks = genotype.nodes(cell)
    columns = min(blocks, PER_LINE)
    width = 2 * (MARGIN + STATE_WIDTH) + columns * (BOX_WIDTH + _GAP) + _GAP
    return width, HEADING + math.ceil(blocks / PER_LINE) * _LINE + MARGIN / 2


def draw_chain(
    axes: Axes,
    genotype: Any,
    cell: str,
    shared: CommonEdges | None,
    gid: str,
    lost: EdgeImportance | None = None,
) -> None:
    """Draw a chain as ``darts.plotting.cell.draw_cell`` draws a cell."""
    edges = genotype.edges(cell)
    differs = [None] * len(edges) if shared is None else shared.differs(edges)
    heading(axes, cell)
    left = MARGIN + STATE_WIDTH
    first = -HEADING - _LINE / 2
    state(axes, MARGIN, first, STATE_HEIGHT, "input")
    end = (left, first)  # where the way to the next operation begins
    for index, (_, number, operation) in enumerate(edges):
        line, column = divmod(index, PER_LINE)
        x, y = left + _GAP + column * (BOX_WIDTH + _GAP), first - line * _LINE
        look = EdgeStyle.of(operation, differs[index])
        loss = None if lost is None else lost.by_cell[cell][index]
        if lost is not None and loss is not None:
            look = EdgeStyle.weighed(loss / lost.most)
            label(axes, x + BOX_WIDTH / 2, y - 0.22, lost.written(loss), 7.5, color=INK)
        _way(axes, end, (x, y), f"{gid}-edge-{index}-curve")
        operation_box(axes, x, y, operation, look, f"{gid}-edge-{index}-box")
        label(axes, x + BOX_WIDTH / 2, y + 0.22, str(number), 7.5, color=QUIET)
        end = (x + BOX_WIDTH, y)
    arrow(axes, [end, (end[0] + _GAP, end[1])], INK, 1.4)
    state(axes, end[0] + _GAP, end[1], STATE_HEIGHT, "output")


def _way(axes: Axes, start: tuple[float, float], end: tuple[float, float], gid: str) -> None:
    """The arrow from one operation to the next, through the gap between two lines if need be."""
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
    patch(axes, route(points, codes), facecolor="none", zorder=2, gid=gid, **_STROKE)
    arrow(axes, [(x1 - 0.12, y1), (x1, y1)], INK, 1.4)


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The point on the way to another one at which the rounding of a corner begins."""
    (x, y), (x1, y1) = corner, other
    share = min(_TURN / math.hypot(x1 - x, y1 - y), 0.5)
    return x + share * (x1 - x), y + share * (y1 - y)
