"""Figure of a recurrent cell, which is a tree: each node has one predecessor.

Each node has a row. The successors of a node are in the rows below it, one column further right.
So the lines to successors and the lines to the output never cross.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from darts.plotting.shapes import (
    BOX_WIDTH,
    CONCAT,
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
    node_circle,
    operation_box,
    state_box,
)
from darts.spaces import AnyGenotype

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW, _RADIUS, _TURN = 0.5, 0.165, 0.14
_LEAD, _GAP = 0.42, 0.26  # from a node's center to its successors' boxes, from a box to its node
_PITCH = _LEAD + BOX_WIDTH + _GAP + _RADIUS
_LANE, _LANES = 0.07, 0.22  # distance of the lines that leave a node; width of all of them


class _Position(NamedTuple):
    """Position of a state in the tree: its row, and the number of nodes before it."""

    row: int
    depth: int


def recurrent_size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    """Return width and height in inches of the figure of a recurrent cell, with its heading."""
    positions = _positions(genotype, cell)
    depth = max(position.depth for position in positions.values())
    width = 2 * (MARGIN + STATE_WIDTH) + 3 * _GAP + 2 * _RADIUS + depth * _PITCH + _LEAD
    return width, HEADING + 0.3 + max(genotype.nodes(cell), 2) * _ROW + MARGIN / 2


def draw_recurrent(
    axes: Axes,
    genotype: AnyGenotype,
    cell: str,
    common: CommonEdges | None,
    gid: str,
    importance: EdgeImportance | None = None,
) -> None:
    """Draw a recurrent cell; arguments as for ``darts.plotting.cell.draw_cell``.

    ``importance`` must be None: edges of recurrent cells cannot be removed.
    """
    if importance is not None:
        raise ValueError("edges of a recurrent cell have no importance")
    edges = genotype.edges(cell)
    differs = [None] * len(edges) if common is None else common.differs(edges)
    positions = _positions(genotype, cell)
    depth = max(position.depth for position in positions.values())
    first = MARGIN + STATE_WIDTH + 2 * _GAP + _RADIUS
    centers = {
        number: (first + position.depth * _PITCH, -HEADING - 0.15 - (position.row + 0.5) * _ROW)
        for number, position in positions.items()
    }
    heading(axes, cell)
    x, y = centers[0]
    for name, side in (("$x_t$", 1), ("$h_{t-1}$", -1)):
        level = y + side * 0.6 * STATE_HEIGHT
        state_box(axes, MARGIN, level, STATE_HEIGHT, name)
        tip = (x - 0.93 * _RADIUS, y + 0.37 * _RADIUS * side)
        arrow(axes, [(MARGIN + STATE_WIDTH, level), (tip[0] - 0.16, level), tip], INK, 1.4)

    right = first + depth * _PITCH + _RADIUS + _GAP + _LEAD
    outputs = genotype.concat(cell)
    levels = [centers[number][1] for number in outputs]
    for number, level in zip(outputs, levels, strict=True):
        only_here = common is not None and number not in common.concat
        color, width = (INK, 2.4) if only_here else (CONCAT, 1.4)
        arrow(axes, [(centers[number][0] + _RADIUS, level), (right, level)], color, width)
    middle, height = (max(levels) + min(levels)) / 2, max(levels) - min(levels) + STATE_HEIGHT
    state_box(axes, right, middle, height, "$h_t$")
    if len(outputs) > 1:
        label(axes, right + STATE_WIDTH / 2, middle - 0.24, "mean", 7.5, color=QUIET)

    for index, (source, target, name) in enumerate(edges):
        successors = sorted((positions[t].row, t) for s, t, _ in edges if s == source)
        rank = [t for _, t in successors].index(target)
        lane = min(_LANE, _LANES / max(len(successors) - 1, 1))
        shift = ((len(successors) - 1) / 2 - rank) * lane  # the lowest one leaves furthest left
        style = EdgeStyle.for_operation(name, differs[index])
        start, end = centers[source], centers[target]
        _draw_edge(axes, start, shift, end, name, style, f"{gid}-edge-{index}")
    for number, (x, y) in centers.items():
        node_circle(axes, x, y, _RADIUS, number)


def _positions(genotype: AnyGenotype, cell: str) -> dict[int, _Position]:
    """Return the position of each state; rows follow a depth-first walk through the tree.

    State 0, which is never an output, shares the row of the first node.
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


def _draw_edge(
    axes: Axes,
    source: tuple[float, float],
    shift: float,
    target: tuple[float, float],
    name: str,
    style: EdgeStyle,
    gid: str,
) -> None:
    """Draw the line from a node to the row of its successor, the activation's box and the arrow."""
    (x0, y0), (x1, y1) = source, target
    box = x1 - _RADIUS - _GAP - BOX_WIDTH
    if y0 == y1:
        path = make_path([(x0, y0), (box, y1)], "ML")
    else:
        trunk = x0 + shift
        corner = [(trunk, y1 + _TURN), (trunk, y1), (trunk + _TURN, y1)]
        path = make_path([(trunk, y0), *corner, (box, y1)], "MLQQL")
    draw_path(axes, path, facecolor="none", zorder=2, gid=f"{gid}-curve", **style.stroke)
    operation_box(axes, box, y1, name, style, f"{gid}-box")
    ends = [(box + BOX_WIDTH, y1), (x1 - _RADIUS, y1)]
    arrow(axes, ends, style.line, style.width, style.alpha)
