"""Drawing of a recurrent cell, which is a tree: each node has one predecessor.

The states are node 0, which combines the two inputs of the cell, and the other nodes. Node 1 shares
the row of node 0; every later node has a row of its own. The successors of a node are in rows below
it, one column further right. Therefore the lines to successors and the lines to the output never
cross.
"""

from __future__ import annotations

from typing import NamedTuple

from darts.plotting.shapes import (
    BOX_WIDTH,
    HEADING,
    MARGIN,
    QUIET,
    RADIUS,
    STATE_HEIGHT,
    STATE_WIDTH,
    CellCanvas,
    EdgeStyle,
    Point,
)
from darts.spaces import AnyGenotype

_ROW, _TURN = 0.5, 0.14  # height of a row; radius of a corner
# Distances: from the center of a node to the boxes of its successors; from a box to its node.
_LEAD, _GAP = 0.42, 0.26
_PITCH = _LEAD + BOX_WIDTH + _GAP + RADIUS  # horizontal distance between a node and its successors
# Largest distances between lines that leave a node: of neighboring ones; of the first and the last.
_LANE, _LANES = 0.07, 0.22


class _Position(NamedTuple):
    """Position of a state in the tree."""

    row: int
    depth: int  # number of edges from state 0, which is its column


def recurrent_size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    """Return width and height, in inches, of the drawing of a recurrent cell with its heading."""
    positions = _positions(genotype, cell)
    depth = max(position.depth for position in positions.values())
    width = 2 * (MARGIN + STATE_WIDTH) + 3 * _GAP + 2 * RADIUS + depth * _PITCH + _LEAD
    return width, HEADING + 0.3 + max(genotype.nodes(cell), 2) * _ROW + MARGIN / 2


def draw_recurrent(canvas: CellCanvas) -> None:
    """Draw a recurrent cell.

    Raises:
        ValueError: If the canvas has importances. An edge is the only input of its node, so edges
            cannot be removed to measure them.
    """
    if canvas.importance is not None:
        raise ValueError("edges of a recurrent cell have no importance")
    edges = canvas.genotype.edges(canvas.cell)
    positions = _positions(canvas.genotype, canvas.cell)
    depth = max(position.depth for position in positions.values())
    first = MARGIN + STATE_WIDTH + 2 * _GAP + RADIUS
    centers = {
        number: (first + position.depth * _PITCH, -HEADING - 0.15 - (position.row + 0.5) * _ROW)
        for number, position in positions.items()
    }
    canvas.heading()
    x, y = centers[0]
    for name, side in (("$x_t$", 1), ("$h_{t-1}$", -1)):
        level = y + side * 0.6 * STATE_HEIGHT
        canvas.state_box(MARGIN, level, name)
        tip = (x - 0.93 * RADIUS, y + 0.37 * RADIUS * side)
        canvas.arrow([(MARGIN + STATE_WIDTH, level), (tip[0] - 0.16, level), tip])

    right = first + depth * _PITCH + RADIUS + _GAP + _LEAD
    outputs = canvas.genotype.concat(canvas.cell)
    levels = [centers[number][1] for number in outputs]
    for number in outputs:
        x, y = centers[number]
        canvas.output_arrow(number, (x + RADIUS, y), right)
    middle, height = (max(levels) + min(levels)) / 2, max(levels) - min(levels) + STATE_HEIGHT
    canvas.state_box(right, middle, "$h_t$", height)
    if len(outputs) > 1:
        canvas.label(right + STATE_WIDTH / 2, middle - 0.24, "mean", 7.5, color=QUIET)

    for index, (source, target, name) in enumerate(edges):
        successors = sorted((positions[t].row, t) for s, t, _ in edges if s == source)
        rank = [t for _, t in successors].index(target)
        lane = min(_LANE, _LANES / max(len(successors) - 1, 1))
        # The line to the lowest successor leaves furthest left, so lines of a node do not cross.
        shift = ((len(successors) - 1) / 2 - rank) * lane
        style = EdgeStyle.for_operation(name, canvas.edge_differs[index])
        gid = f"{canvas.gid}-edge-{index}"
        start, end = centers[source], centers[target]
        box = (end[0] - RADIUS - _GAP - BOX_WIDTH, end[1])
        _draw_line(canvas, start, shift, box, style, gid)
        canvas.operation_box(box, name, style, f"{gid}-box")
        ends = [(box[0] + BOX_WIDTH, box[1]), (end[0] - RADIUS, end[1])]
        canvas.arrow(ends, style.line, style.width, style.alpha)
    for number, (x, y) in centers.items():
        canvas.node_circle(x, y, number)


def _positions(genotype: AnyGenotype, cell: str) -> dict[int, _Position]:
    """Return the position of each state. Rows follow a depth-first walk through the tree.

    Node 0 shares the row of node 1. This is possible because node 0 has no line to the output.
    """
    edges = genotype.edges(cell)
    positions = {0: _Position(0, 0)}
    waiting = [target for source, target, _ in reversed(edges) if source == 0]
    predecessor = {target: source for source, target, _ in edges}
    while waiting:
        number = waiting.pop()
        depth = positions[predecessor[number]].depth + 1
        positions[number] = _Position(len(positions) - 1, depth)
        waiting += [target for source, target, _ in reversed(edges) if source == number]
    return positions


def _draw_line(
    canvas: CellCanvas, start: Point, shift: float, box: Point, style: EdgeStyle, gid: str
) -> None:
    """Draw the line from a node down to the row of its successor, and then right to the box.

    ``shift`` moves the vertical part to the right of the node's center.
    """
    points, codes = [start, box], "ML"
    if start[1] != box[1]:
        x, y = start[0] + shift, box[1]
        corner = [(x, y + _TURN), (x, y), (x + _TURN, y)]
        points, codes = [(x, start[1]), *corner, box], "MLQQL"
    canvas.path(points, codes, gid=f"{gid}-curve", **style.stroke)
