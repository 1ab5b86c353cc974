"""Drawing of a chain of operations, each on the result of the previous one, in lines like text."""

from __future__ import annotations

import math

from darts.plotting.shapes import (
    BOX_WIDTH,
    HEADING,
    INK,
    MARGIN,
    QUIET,
    STATE_WIDTH,
    CellCanvas,
    Point,
)
from darts.spaces import AnyGenotype

_LINE, _GAP, _TURN = 0.78, 0.36, 0.12  # height of a line; gap between boxes; corner radius
_BOXES_PER_LINE = 4


def chain_size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    """Return width and height, in inches, of the drawing of a chain with its heading."""
    boxes = genotype.nodes(cell)
    columns = min(boxes, _BOXES_PER_LINE)
    width = 2 * (MARGIN + STATE_WIDTH) + columns * (BOX_WIDTH + _GAP) + _GAP
    return width, HEADING + math.ceil(boxes / _BOXES_PER_LINE) * _LINE + MARGIN / 2


def draw_chain(canvas: CellCanvas) -> None:
    """Draw a chain of operations with their numbers."""
    canvas.heading()
    left = MARGIN + STATE_WIDTH
    first = -HEADING - _LINE / 2
    canvas.state_box(MARGIN, first, "input")
    end = (left, first)  # start of the arrow to the next operation
    edges = zip(canvas.genotype.edges(canvas.cell), canvas.edge_differs, strict=True)
    for index, ((_, number, operation), differs) in enumerate(edges):
        line, column = divmod(index, _BOXES_PER_LINE)
        x, y = left + _GAP + column * (BOX_WIDTH + _GAP), first - line * _LINE
        style, text = canvas.edge_style(index, differs)
        if text:
            canvas.label(x + BOX_WIDTH / 2, y - 0.22, text, 7.5, color=INK)
        _draw_connection(canvas, end, (x, y), f"{canvas.gid}-edge-{index}-curve")
        canvas.operation_box((x, y), operation, style, f"{canvas.gid}-edge-{index}-box")
        canvas.label(x + BOX_WIDTH / 2, y + 0.22, str(number), 7.5, color=QUIET)
        end = (x + BOX_WIDTH, y)
    canvas.arrow([end, (end[0] + _GAP, end[1])])
    canvas.state_box(end[0] + _GAP, end[1], "output")


def _draw_connection(canvas: CellCanvas, start: Point, end: Point, gid: str) -> None:
    """Draw the arrow to the next operation; at a line break it returns between the two lines."""
    (x0, y0), (x1, y1) = start, end
    corners, codes = [(x0, y0), (x1 - 0.1, y1)], "ML"
    if y0 != y1:
        middle, right, left = (y0 + y1) / 2, x0 + _GAP / 2, x1 - 0.6 * _GAP
        corners[1:1] = [(right, y0), (right, middle), (left, middle), (left, y1)]
        codes = "M" + 4 * "LQQ" + "L"
    points = corners[:1]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        points += [_rounding_point(corner, before), corner, _rounding_point(corner, after)]
    points.append(corners[-1])
    canvas.path(points, codes, gid=gid, edgecolor=INK, linewidth=1.4)
    canvas.arrow([(x1 - 0.12, y1), (x1, y1)])


def _rounding_point(corner: Point, other: Point) -> Point:
    """Return the point on the line from a corner to another point where the corner gets round."""
    (x, y), (x1, y1) = corner, other
    fraction = min(_TURN / math.hypot(x1 - x, y1 - y), 0.5)
    return x + fraction * (x1 - x), y + fraction * (y1 - y)
