"""Drawing of one cell.

A state is an input or a node of the cell. Each node has a row of its own. Usually, it is below the
rows of earlier nodes and further right. A recurrent cell is a tree: the successors of a node are in
rows below it, one column further right. The boxes of the operations that enter the node are on its
left; its row has no boxes on its right.

A curve leaves its source state on the right side, bends to the row of its target in the gap next to
the source, and then runs straight to the box of its operation. Therefore no curve passes behind the
box of another edge, and no two labels overlap, for any genotype. In a recurrent cell, the curves of
different nodes do not cross each other or the arrows to the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from darts.plotting.shapes import (
    BOX_WIDTH,
    HEADING,
    INK,
    MARGIN,
    PALE,
    QUIET,
    RADIUS,
    STATE_HEIGHT,
    STATE_WIDTH,
    CellCanvas,
    EdgeStyle,
    Point,
)
from darts.spaces import AnyGenotype

_ROW, _RECURRENT_ROW = 0.80, 0.50  # height of the row of a node with one or two edges
_HALF_LANE = 0.165  # half of the vertical distance between the boxes of a row
_BEND, _GAP = 0.72, 0.28  # width of the bend of a curve; distance from a box to its node
_PITCH = _BEND + BOX_WIDTH + _GAP + 2 * RADIUS  # horizontal distance between neighboring nodes
_JOIN = 2 * _GAP + 2 * RADIUS  # width of the node that joins the inputs of a recurrent cell


@dataclass(frozen=True)
class _Curve:
    """Geometry of an edge."""

    start: Point
    bend_x: float  # where its bend begins: the right end of the source state
    box: Point  # middle of the left side of the operation's box
    node: Point  # center of the target


def cell_size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    """Return width and height, in inches, of the drawing of a cell with its heading."""
    columns = max(column for _, column in _places(genotype, cell))
    width = 2 * (MARGIN + STATE_WIDTH) + _recurs(genotype) * _JOIN + columns * _PITCH + _BEND
    return width, HEADING + 0.24 + sum(_row_heights(genotype, cell)) + MARGIN / 2


def draw_cell(canvas: CellCanvas) -> None:
    """Draw a cell with one or two inputs, or a recurrent cell."""
    genotype, cell = canvas.genotype, canvas.cell
    inputs, recurs = genotype.inputs, _recurs(genotype)
    left = MARGIN + STATE_WIDTH
    heights = _row_heights(genotype, cell)
    rows = [-HEADING - 0.12 - sum(heights[:i]) - height / 2 for i, height in enumerate(heights)]
    # A state is placed by the middle of its right side.
    states: list[Point]
    if recurs:
        states, output = [(left + _JOIN, rows[0])], "$h_t$"
    elif inputs == 2:
        states, output = [(left, rows[0] + 0.30), (left, rows[-1] - 0.30)], "$c_{k}$"
    else:
        states, output = [(left, rows[0])], "output"
    first = states[0][0]
    states += [(first + column * _PITCH, rows[row]) for row, column in _places(genotype, cell)]

    canvas.heading()
    if recurs:
        _draw_joined_inputs(canvas, states[0])
    else:
        names = ["$c_{k-2}$", "$c_{k-1}$"] if inputs == 2 else ["input"]
        for (x, y), name in zip(states[:inputs], names, strict=True):
            canvas.state_box(x - STATE_WIDTH, y, name)
    # With two inputs, nodes are numbered from 0. A single input counts as number 0, so nodes are
    # then numbered from 1.
    for number, (x, y) in enumerate(states[inputs:], 0 if inputs == 2 else 1):
        canvas.node_circle(x - RADIUS, y, number)
    curves = _layout(genotype, cell, states)
    for index, (curve, style) in enumerate(zip(curves, canvas.styles, strict=True)):
        _draw_curve(canvas, curve, index, style)

    right = max(x for x, _ in states) + _BEND
    concat = genotype.concat(cell)
    levels = [states[source][1] for source in concat]
    middle, height = (max(levels) + min(levels)) / 2, max(levels) - min(levels) + STATE_HEIGHT
    canvas.state_box(right, middle, output, height)
    if recurs and len(concat) > 1:
        canvas.label(right + STATE_WIDTH / 2, middle - 0.24, "mean", 7.5, color=QUIET)
    for source in concat:
        color, width = (INK, 2.4) if source in canvas.marked else (PALE, 1.4)
        canvas.arrow([states[source], (right, states[source][1])], color, width)


def _recurs(genotype: AnyGenotype) -> bool:
    return bool(getattr(genotype, "recurs", False))


def _places(genotype: AnyGenotype, cell: str) -> list[tuple[int, int]]:
    """Return row and column of each node; the column of the inputs is 0."""
    nodes, edges = genotype.nodes(cell), genotype.edges(cell)
    if not _recurs(genotype):
        return [(node, node + 1) for node in range(nodes)]
    places: dict[int, tuple[int, int]] = {}

    def visit(state: int, column: int) -> None:  # a depth-first walk through the tree
        for source, target, _ in edges:
            if source == state:
                places[target] = len(places), column + 1
                visit(target, column + 1)

    visit(0, 0)
    return [places[node] for node in range(1, nodes + 1)]


def _row_heights(genotype: AnyGenotype, cell: str) -> list[float]:
    """Return the height of each row, which has space for the boxes of all edges of its node."""
    if _recurs(genotype):
        return [_RECURRENT_ROW] * genotype.nodes(cell)
    targets = [target for _, target, _ in genotype.edges(cell)]
    nodes = range(genotype.inputs, genotype.inputs + genotype.nodes(cell))
    return [_ROW + 2 * _HALF_LANE * max(0, targets.count(node) - 2) for node in nodes]


def _draw_joined_inputs(canvas: CellCanvas, right: Point) -> None:
    """Draw the inputs of a recurrent cell and state 0, which joins them."""
    x, y = right[0] - RADIUS, right[1]
    for name, side in (("$x_t$", 1), ("$h_{t-1}$", -1)):
        level = y + side * 0.6 * STATE_HEIGHT
        canvas.state_box(MARGIN, level, name)
        tip = (x - 0.93 * RADIUS, y + 0.37 * RADIUS * side)
        canvas.arrow([(MARGIN + STATE_WIDTH, level), (tip[0] - 0.16, level), tip])
    canvas.node_circle(x, y, 0)


def _layout(genotype: AnyGenotype, cell: str, states: Sequence[Point]) -> list[_Curve]:
    """Choose a box and a starting point for each edge, so that few curves cross.

    ``states`` are the middles of the right sides of the states.
    """
    inputs, edges = genotype.inputs, genotype.edges(cell)

    def height_of_source(edge: int) -> int:
        # Curves from late nodes arrive above those from early nodes, which bend into the row
        # further left. Below them are the curves from the first input. The second input is drawn
        # at the bottom, so its curves are the lowest.
        source = edges[edge][0]
        return source if source >= inputs else -source

    boxes: dict[int, Point] = {}
    for node in range(inputs, inputs + genotype.nodes(cell)):
        entering = [index for index, edge in enumerate(edges) if edge[1] == node]
        x, y = states[node]
        box_x = x - 2 * RADIUS - _GAP - BOX_WIDTH
        for rank, index in enumerate(sorted(entering, key=lambda i: -height_of_source(i))):
            boxes[index] = (box_x, y + _HALF_LANE * (len(entering) - 1 - 2 * rank))
    curves = []
    for index, (source, target, _) in enumerate(edges):
        leaving = [boxes[i] for i, edge in enumerate(edges) if edge[0] == source]
        leaving.sort(key=lambda box: -box[1])
        rank = leaving.index(boxes[index])
        x, y = states[source]
        if source >= inputs or _recurs(genotype):
            # Below the middle, where the node's arrow to the output starts.
            start = (x - RADIUS, y - 0.13 * (rank + 1) / len(leaving))
        elif inputs == 1:  # the top curve starts at the middle and runs straight in the first row
            start = (x, y - 0.4 * STATE_HEIGHT * rank / len(leaving))
        else:  # evenly spaced on the right side of the input
            offset = (rank + 1) / (len(leaving) + 1) - 0.5
            start = (x, y - 0.8 * STATE_HEIGHT * offset)
        center = (states[target][0] - RADIUS, states[target][1])
        curves.append(_Curve(start, x, boxes[index], center))
    return curves


def _draw_curve(canvas: CellCanvas, curve: _Curve, index: int, style: EdgeStyle) -> None:
    """Draw an edge: the curve to the operation's box, the box, and the arrow to the node."""
    (x0, y0), (x1, y1), (x2, y2) = curve.start, curve.box, curve.node
    left, gid = curve.bend_x, f"{canvas.gid}-edge-{index}"
    right = min(left + _BEND, x1)
    reach = (right - left) * 0.55  # distance of the Bezier curve's control points from its ends
    points = [(x0, y0), (left, y0), (left + reach, y0), (right - reach, y1), (right, y1), (x1, y1)]
    # A white border separates two curves of the same color where they cross.
    order = 2.0 + 0.1 * style.is_raised
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
