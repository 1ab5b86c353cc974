"""Figure of one cell.

Each node has a row. The boxes of its operations are left of it; right of it there is only its arrow
to the output. A curve from an earlier state bends into the row in the gap behind that state and
then runs straight to its box. So no curve passes behind a box of another edge and no two labels
overlap, whatever the genotype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from darts.plotting.shapes import (
    BOX_HEIGHT,
    BOX_WIDTH,
    HEADING,
    INK,
    MARGIN,
    RADIUS,
    STATE_HEIGHT,
    STATE_WIDTH,
    CellCanvas,
    EdgeStyle,
    Point,
)
from darts.spaces import AnyGenotype

_ROW, _LANE = 0.80, 0.165
_BEND, _GAP = 0.72, 0.28
_PITCH = _BEND + BOX_WIDTH + _GAP + 2 * RADIUS


@dataclass(frozen=True)
class _Curve:
    """Geometry of an edge."""

    start: Point
    exit_x: float  # where it leaves the outline of its source
    box: Point  # middle of the left side of the operation's box
    node: Point  # center of the target


def cell_size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    """Return width and height in inches of the figure of a cell, including its heading."""
    nodes = genotype.nodes(cell)
    width = 2 * (MARGIN + STATE_WIDTH) + nodes * _PITCH + _BEND
    return width, HEADING + 0.24 + sum(_row_heights(genotype, cell)) + MARGIN / 2


def draw_cell(canvas: CellCanvas) -> None:
    """Draw a cell with one or two inputs."""
    genotype, cell = canvas.genotype, canvas.cell
    inputs, nodes = genotype.inputs, genotype.nodes(cell)
    left = MARGIN + STATE_WIDTH
    heights = _row_heights(genotype, cell)
    rows = [-HEADING - 0.12 - sum(heights[:i]) - heights[i] / 2 for i in range(nodes)]
    # The exit of a state is the middle of its right side, where its curves start.
    if inputs == 2:
        exits = [(left, rows[0] + 0.30), (left, rows[-1] - 0.30)]
        names = ["$c_{k-2}$", "$c_{k-1}$"]
    else:
        exits, names = [(left, rows[0])], ["input"]
    exits += [(left + (i + 1) * _PITCH, rows[i]) for i in range(nodes)]

    canvas.heading()
    for (x, y), name in zip(exits[:inputs], names, strict=True):
        canvas.state_box(x - STATE_WIDTH, y, name)
    # Two inputs have the names of their cells; a single input is node 0.
    for index, (x, y) in enumerate(exits[inputs:], 0 if inputs == 2 else 1):
        canvas.node_circle(x - RADIUS, y, index)
    curves = _layout(genotype, cell, exits)
    for index, (curve, differs) in enumerate(zip(curves, canvas.edge_differs, strict=True)):
        style, text = canvas.edge_style(index, differs)
        if text:
            x, y = curve.box
            # Above or below the arrow to the node, on the side away from the node.
            offset = 0.09 if y >= curve.node[1] else -0.09
            canvas.label(x + BOX_WIDTH + 0.17, y + offset, text, 7.5, color=INK)
        _draw_curve(canvas, curve, index, style, bool(differs))

    right = left + nodes * _PITCH + _BEND
    concat = genotype.concat(cell)
    top, bottom = (rows[0], rows[-1]) if len(concat) > 1 else (exits[concat[0]][1],) * 2
    height = top - bottom + 2 * _LANE + BOX_HEIGHT
    if inputs == 1 and len(concat) == 1:  # a single node, as high as the input
        height = STATE_HEIGHT
    canvas.state_box(right, (top + bottom) / 2, "$c_{k}$" if inputs == 2 else "output", height)
    for source in concat:
        canvas.output_arrow(source, exits[source], right)


def _row_heights(genotype: AnyGenotype, cell: str) -> list[float]:
    """Return the height of each node's row, enough for the boxes of all its edges."""
    targets = [target for _, target, _ in genotype.edges(cell)]
    nodes = range(genotype.inputs, genotype.inputs + genotype.nodes(cell))
    return [_ROW + 2 * _LANE * max(0, targets.count(node) - 2) for node in nodes]


def _layout(genotype: AnyGenotype, cell: str, exits: Sequence[Point]) -> list[_Curve]:
    """Assign each edge a box and a point on its source, so that few curves cross."""
    inputs, edges = genotype.inputs, genotype.edges(cell)

    def order_from_top(edge: int) -> int:
        # The latest node, earlier nodes, then the inputs; a second input comes from below.
        source = edges[edge][0]
        return source if source >= inputs else -source

    boxes: dict[int, Point] = {}
    for node in range(inputs, inputs + genotype.nodes(cell)):
        entering = [index for index, edge in enumerate(edges) if edge[1] == node]
        x, y = exits[node]
        corner = x - 2 * RADIUS - _GAP - BOX_WIDTH
        for rank, index in enumerate(sorted(entering, key=lambda i: -order_from_top(i))):
            boxes[index] = (corner, y + _LANE * (len(entering) - 1 - 2 * rank))
    curves = []
    for index, (source, target, _) in enumerate(edges):
        leaving = [boxes[i] for i, edge in enumerate(edges) if edge[0] == source]
        leaving.sort(key=lambda box: -box[1])
        rank = leaving.index(boxes[index])
        x, y = exits[source]
        if source >= inputs:  # below the middle, where the arrow to the output starts
            start = (x - RADIUS, y - 0.13 * (rank + 1) / len(leaving))
        elif inputs == 1:  # the first one from the middle, straight into the first row
            start = (x, y - 0.4 * STATE_HEIGHT * rank / len(leaving))
        else:
            offset = (rank + 1) / (len(leaving) + 1) - 0.5
            start = (x, y - 0.8 * STATE_HEIGHT * offset)
        center = (exits[target][0] - RADIUS, exits[target][1])
        curves.append(_Curve(start, x, boxes[index], center))
    return curves


def _draw_curve(
    canvas: CellCanvas, curve: _Curve, index: int, style: EdgeStyle, differs: bool
) -> None:
    """Draw the curve to the operation's box, the box, and the arrow to the node."""
    (x0, y0), (x1, y1), (x2, y2) = curve.start, curve.box, curve.node
    left, gid = curve.exit_x, f"{canvas.gid}-edge-{index}"
    bend = min(left + _BEND, x1)
    reach = (bend - left) * 0.55
    points = [(x0, y0), (left, y0), (left + reach, y0), (bend - reach, y1), (bend, y1), (x1, y1)]
    # A white border separates two curves of the same color where they cross.
    order = 2.0 + 0.1 * differs
    canvas.path(points, "MLCCCL", zorder=order, edgecolor="white", linewidth=style.width + 2.0)
    canvas.path(points, "MLCCCL", zorder=order, gid=f"{gid}-curve", **style.stroke)
    operation = canvas.genotype.edges(canvas.cell)[index][2]
    canvas.operation_box(curve.box, operation, style, f"{gid}-box")
    ends = [(x1 + BOX_WIDTH, y1), (x2 - RADIUS, y1)]
    if y1 != y2:
        side = 1 if y1 > y2 else -1
        tip = (x2 - 0.93 * RADIUS, y2 + 0.37 * RADIUS * side)
        ends[1:] = [(tip[0] - 0.14, y1), tip]
    canvas.arrow(ends, style.line, style.width, style.alpha)
