"""Figure of one cell.

Each node has a row. The boxes of its operations are left of it; right of it there is only its arrow
to the output. A curve from an earlier state bends into the row in the gap behind that state and
then runs straight to its box. So no curve passes behind a box of another edge and no two labels
overlap, whatever the genotype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from darts.plotting.shapes import (
    BOX_HEIGHT,
    BOX_WIDTH,
    CONCAT,
    HEADING,
    INK,
    MARGIN,
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
    node_circle,
    operation_box,
    state_box,
)
from darts.spaces import AnyGenotype

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Lengths are in inches; the figure is drawn at scale 1.
_ROW, _LANE = 0.80, 0.165
_RADIUS = 0.165
_BEND, _GAP = 0.72, 0.28
_PITCH = _BEND + BOX_WIDTH + _GAP + 2 * _RADIUS


@dataclass(frozen=True)
class _Curve:
    """Geometry of an edge: where it leaves its source, and the position of its operation's box."""

    operation: str
    start: tuple[float, float]
    exit_x: float  # where it leaves the outline of its source
    box: tuple[float, float]  # middle of the left side
    node: tuple[float, float]  # center of the target
    differs: bool | None  # None if nothing is compared


def cell_size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    """Return width and height in inches of the figure of a cell, including its heading."""
    nodes = genotype.nodes(cell)
    width = 2 * (MARGIN + STATE_WIDTH) + nodes * _PITCH + _BEND
    return width, HEADING + 0.24 + sum(_row_heights(genotype, cell)) + MARGIN / 2


def draw_cell(
    axes: Axes,
    genotype: AnyGenotype,
    cell: str,
    common: CommonEdges | None,
    gid: str,
    importance: EdgeImportance | None = None,
) -> None:
    """Draw a cell into axes whose unit is an inch, from ``(0, 0)`` at the top left downwards.

    Args:
        axes: Axes to draw into.
        genotype: Genotype of a space whose cells have one or two inputs.
        cell: Name of the cell.
        common: Edges to draw faintly, so that the others stand out. None draws all edges alike.
        gid: Prefix of the SVG ids of the boxes and curves.
        importance: Width and color of the edges, instead of the colors of their families.
    """
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

    heading(axes, cell)
    for (x, y), name in zip(exits[:inputs], names, strict=True):
        state_box(axes, x - STATE_WIDTH, y, STATE_HEIGHT, name)
    # Two inputs have the names of their cells; a single input is node 0.
    for index, (x, y) in enumerate(exits[inputs:], 0 if inputs == 2 else 1):
        node_circle(axes, x - _RADIUS, y, _RADIUS, index)
    for index, curve in enumerate(_layout(genotype, cell, exits, common)):
        loss = None if importance is None else importance.by_cell[cell][index]
        style = EdgeStyle.for_operation(curve.operation, curve.differs)
        if importance is not None and loss is not None:
            style = EdgeStyle.for_importance(loss / importance.largest)
            x, y = curve.box
            # Above or below the arrow to the node, on the side away from the node.
            offset = 0.09 if y >= curve.node[1] else -0.09
            text = importance.label(loss)
            label(axes, x + BOX_WIDTH + 0.17, y + offset, text, 7.5, color=INK)
        _draw_curve(axes, curve, style, f"{gid}-edge-{index}")

    right = left + nodes * _PITCH + _BEND
    concat = genotype.concat(cell)
    top, bottom = (rows[0], rows[-1]) if len(concat) > 1 else (exits[concat[0]][1],) * 2
    height = top - bottom + 2 * _LANE + BOX_HEIGHT
    if inputs == 1 and len(concat) == 1:  # a single node, as high as the input
        height = STATE_HEIGHT
    state_box(axes, right, (top + bottom) / 2, height, "$c_{k}$" if inputs == 2 else "output")
    for source in concat:
        only_here = common is not None and source not in common.concat
        color, line_width = (INK, 2.4) if only_here else (CONCAT, 1.4)
        arrow(axes, [exits[source], (right, exits[source][1])], color, line_width)


def _row_heights(genotype: AnyGenotype, cell: str) -> list[float]:
    """Return the height of each node's row, enough for the boxes of all its edges."""
    targets = [target for _, target, _ in genotype.edges(cell)]
    nodes = range(genotype.inputs, genotype.inputs + genotype.nodes(cell))
    return [_ROW + 2 * _LANE * max(0, targets.count(node) - 2) for node in nodes]


def _layout(
    genotype: AnyGenotype,
    cell: str,
    exits: Sequence[tuple[float, float]],
    common: CommonEdges | None,
) -> list[_Curve]:
    """Assign each edge a box and a point on its source, so that few curves cross."""
    inputs, edges = genotype.inputs, genotype.edges(cell)

    def order_from_top(edge: int) -> int:
        # The latest node, earlier nodes, then the inputs; a second input comes from below.
        source = edges[edge][0]
        return source if source >= inputs else -source

    boxes: dict[int, tuple[float, float]] = {}
    for node in range(inputs, inputs + genotype.nodes(cell)):
        entering = [index for index, edge in enumerate(edges) if edge[1] == node]
        x, y = exits[node]
        corner = x - 2 * _RADIUS - _GAP - BOX_WIDTH
        for rank, index in enumerate(sorted(entering, key=lambda i: -order_from_top(i))):
            boxes[index] = (corner, y + _LANE * (len(entering) - 1 - 2 * rank))
    differs = [None] * len(edges) if common is None else common.differs(edges)
    curves = []
    for index, (source, target, operation) in enumerate(edges):
        leaving = [boxes[i] for i, edge in enumerate(edges) if edge[0] == source]
        leaving.sort(key=lambda box: -box[1])
        rank = leaving.index(boxes[index])
        x, y = exits[source]
        if source >= inputs:  # below the middle, where the arrow to the output starts
            start = (x - _RADIUS, y - 0.13 * (rank + 1) / len(leaving))
        elif inputs == 1:  # the first one from the middle, straight into the first row
            start = (x, y - 0.4 * STATE_HEIGHT * rank / len(leaving))
        else:
            offset = (rank + 1) / (len(leaving) + 1) - 0.5
            start = (x, y - 0.8 * STATE_HEIGHT * offset)
        center = (exits[target][0] - _RADIUS, exits[target][1])
        curves.append(_Curve(operation, start, x, boxes[index], center, differs[index]))
    return curves


def _draw_curve(axes: Axes, curve: _Curve, style: EdgeStyle, gid: str) -> None:
    """Draw the curve to the operation's box, the box, and the arrow to the node."""
    (x0, y0), (x1, y1), (x2, y2) = curve.start, curve.box, curve.node
    bend = min(curve.exit_x + _BEND, x1)
    reach = (bend - curve.exit_x) * 0.55
    path = make_path(
        [
            (x0, y0),
            (curve.exit_x, y0),
            (curve.exit_x + reach, y0),
            (bend - reach, y1),
            (bend, y1),
            (x1, y1),
        ],
        "MLCCCL",
    )
    # A white border separates two curves of the same color where they cross.
    order = 2.0 + 0.1 * bool(curve.differs)
    border = {"edgecolor": "white", "linewidth": style.width + 2.0}
    draw_path(axes, path, facecolor="none", zorder=order, **border)
    draw_path(axes, path, facecolor="none", zorder=order, gid=f"{gid}-curve", **style.stroke)
    operation_box(axes, x1, y1, curve.operation, style, f"{gid}-box")
    if y1 == y2:
        ends = [(x1 + BOX_WIDTH, y1), (x2 - _RADIUS, y1)]
        arrow(axes, ends, style.line, style.width, style.alpha)
        return
    side = 1 if y1 > y2 else -1
    tip = (x2 - 0.93 * _RADIUS, y2 + 0.37 * _RADIUS * side)
    bent = [(x1 + BOX_WIDTH, y1), (tip[0] - 0.14, y1), tip]
    arrow(axes, bent, style.line, style.width, style.alpha)
