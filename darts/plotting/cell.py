"""The picture of one cell: where its states, operations and curves go.

Each node has a row of its own: its operations stand in boxes to its left, and to its right
nothing but its way to the output. A curve from an earlier state bends into the row in the gap
behind that state and then runs straight to its box, so no curve passes behind a box of another
edge and no two labels can meet, whatever the genotype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from darts.plotting.shapes import (
    BOX_HEIGHT,
    BOX_WIDTH,
    HEADING,
    INK,
    MARGIN,
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

# Lengths are in inches, at which the figure is drawn one to one.
_ROW, _LANE = 0.80, 0.165
_RADIUS = 0.165
_BEND, _GAP = 0.72, 0.28
_PITCH = _BEND + BOX_WIDTH + _GAP + 2 * _RADIUS

_CONCAT = "#b8c0cc"


@dataclass(frozen=True)
class _Curve:
    """One edge on paper: where it leaves its source and where its operation's box stands."""

    operation: str
    start: tuple[float, float]
    exit_x: float  # where it leaves its source's outline
    box: tuple[float, float]  # the middle of its left side
    node: tuple[float, float]  # the center of the target
    differs: bool | None  # None where nothing is compared


def cell_size(genotype: Any, cell: str) -> tuple[float, float]:
    """Width and height in inches of the picture of a cell, its heading included."""
    nodes = genotype.nodes(cell)
    width = 2 * (MARGIN + STATE_WIDTH) + nodes * _PITCH + _BEND
    return width, HEADING + 0.24 + sum(_row_heights(genotype, cell)) + MARGIN / 2


def draw_cell(
    axes: Axes,
    genotype: Any,
    cell: str,
    shared: CommonEdges | None,
    gid: str,
    lost: EdgeImportance | None = None,
) -> None:
    """Draw a cell into axes whose unit is an inch, from ``(0, 0)`` at the top left downwards.

    Args:
        axes: where to draw.
        genotype: of any space whose cells have one input or two.
        cell: one of its cells.
        shared: what to draw faintly, the rest standing out; None draws everything alike.
        gid: prefix of the SVG ids of the boxes and curves.
        lost: by which edges are as wide and dark as they matter, in place of their families.
    """
    from matplotlib.patches import Circle

    inputs, nodes = genotype.inputs, genotype.nodes(cell)
    left = MARGIN + STATE_WIDTH
    heights = _row_heights(genotype, cell)
    rows = [-HEADING - 0.12 - sum(heights[:i]) - heights[i] / 2 for i in range(nodes)]
    # A state is where its curves leave it: the middle of its right-hand side.
    if inputs == 2:
        exits = [(left, rows[0] + 0.30), (left, rows[-1] - 0.30)]
        names = ["$c_{k-2}$", "$c_{k-1}$"]
    else:
        exits, names = [(left, rows[0])], ["input"]
    exits += [(left + (i + 1) * _PITCH, rows[i]) for i in range(nodes)]

    heading(axes, cell)
    for (x, y), name in zip(exits[:inputs], names, strict=True):
        state(axes, x - STATE_WIDTH, y, STATE_HEIGHT, name)
    # Two inputs are called by the cells that they come from, a single one is node 0.
    for index, (x, y) in enumerate(exits[inputs:], 0 if inputs == 2 else 1):
        axes.add_patch(Circle((x - _RADIUS, y), _RADIUS, facecolor=INK, edgecolor=INK, zorder=4))
        label(axes, x - _RADIUS, y, str(index), 10, color="white", fontweight="bold")
    for index, curve in enumerate(_plan(genotype, cell, exits, shared)):
        loss = None if lost is None else lost.by_cell[cell][index]
        look = EdgeStyle.of(curve.operation, curve.differs)
        if lost is not None and loss is not None:
            look = EdgeStyle.weighed(loss / lost.most)
            x, y = curve.box
            # Above the arrow to the node or below it, away from the node.
            aside = 0.09 if y >= curve.node[1] else -0.09
            label(axes, x + BOX_WIDTH + 0.17, y + aside, lost.written(loss), 7.5, color=INK)
        _draw_curve(axes, curve, look, f"{gid}-edge-{index}")

    right = left + nodes * _PITCH + _BEND
    concat = genotype.concat(cell)
    top, bottom = (rows[0], rows[-1]) if len(concat) > 1 else (exits[concat[0]][1],) * 2
    height = top - bottom + 2 * _LANE + BOX_HEIGHT
    if inputs == 1 and len(concat) == 1:  # as high as the input, for it is one node as well
        height = STATE_HEIGHT
    state(axes, right, (top + bottom) / 2, height, "$c_{k}$" if inputs == 2 else "output")
    for source in concat:
        only_here = shared is not None and source not in shared.concat
        style = (INK, 2.4) if only_here else (_CONCAT, 1.4)
        arrow(axes, [exits[source], (right, exits[source][1])], *style)


def _row_heights(genotype: Any, cell: str) -> list[float]:
    """How high each node's row is: enough for the boxes of all its edges."""
    targets = [target for _, target, _ in genotype.edges(cell)]
    nodes = range(genotype.inputs, genotype.inputs + genotype.nodes(cell))
    return [_ROW + 2 * _LANE * max(0, targets.count(node) - 2) for node in nodes]


def _plan(
    genotype: Any, cell: str, exits: Sequence[tuple[float, float]], shared: CommonEdges | None
) -> list[_Curve]:
    """Give every edge a box and a point on its source, so that few curves cross."""
    inputs, edges = genotype.inputs, genotype.edges(cell)

    def from_above(edge: int) -> int:
        # The latest node, earlier ones, then the inputs; a second input comes from below.
        source = edges[edge][0]
        return source if source >= inputs else -source

    boxes: dict[int, tuple[float, float]] = {}
    for node in range(inputs, inputs + genotype.nodes(cell)):
        entering = [index for index, edge in enumerate(edges) if edge[1] == node]
        x, y = exits[node]
        corner = x - 2 * _RADIUS - _GAP - BOX_WIDTH
        for rank, index in enumerate(sorted(entering, key=lambda i: -from_above(i))):
            boxes[index] = (corner, y + _LANE * (len(entering) - 1 - 2 * rank))
    differs = [None] * len(edges) if shared is None else shared.differs(edges)
    curves = []
    for index, (source, target, operation) in enumerate(edges):
        leaving = [boxes[i] for i, edge in enumerate(edges) if edge[0] == source]
        leaving.sort(key=lambda box: -box[1])
        rank = leaving.index(boxes[index])
        x, y = exits[source]
        if source >= inputs:  # below the middle, which is the way to the output
            start = (x - _RADIUS, y - 0.13 * (rank + 1) / len(leaving))
        elif inputs == 1:  # from the middle straight into the first row
            start = (x, y - 0.4 * STATE_HEIGHT * rank / len(leaving))
        else:
            offset = (rank + 1) / (len(leaving) + 1) - 0.5
            start = (x, y - 0.8 * STATE_HEIGHT * offset)
        center = (exits[target][0] - _RADIUS, exits[target][1])
        curves.append(_Curve(operation, start, x, boxes[index], center, differs[index]))
    return curves


def _draw_curve(axes: Axes, curve: _Curve, look: EdgeStyle, gid: str) -> None:
    """The curve to the operation's box, the box with its name, the arrow to the node."""
    (x0, y0), (x1, y1), (x2, y2) = curve.start, curve.box, curve.node
    bend = min(curve.exit_x + _BEND, x1)
    reach = (bend - curve.exit_x) * 0.55
    way = route(
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
    # A white border tells two curves of one color apart where they cross.
    order = 2.0 + 0.1 * bool(curve.differs)
    casing = {"edgecolor": "white", "linewidth": look.weight + 2.0}
    patch(axes, way, facecolor="none", zorder=order, **casing)
    patch(axes, way, facecolor="none", zorder=order, gid=f"{gid}-curve", **look.stroke)
    operation_box(axes, x1, y1, curve.operation, look, f"{gid}-box")
    if y1 == y2:
        arrow(axes, [(x1 + BOX_WIDTH, y1), (x2 - _RADIUS, y1)], look.line, look.weight, look.alpha)
        return
    side = 1 if y1 > y2 else -1
    tip = (x2 - 0.93 * _RADIUS, y2 + 0.37 * _RADIUS * side)
    bent = [(x1 + BOX_WIDTH, y1), (tip[0] - 0.14, y1), tip]
    arrow(axes, bent, look.line, look.weight, look.alpha)
