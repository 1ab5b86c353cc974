"""The picture of a recurrent cell, which is a tree: each node has one predecessor.

Each node has a row, a node's followers stand right below it and one column further to the right.
So the ways to the followers and those to the output never cross, whatever the genotype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from darts.plotting.shapes import (
    BOX_WIDTH,
    HEADING,
    INK,
    MARGIN,
    QUIET,
    STATE_HEIGHT,
    STATE_WIDTH,
    EdgeStyle,
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

_ROW, _RADIUS, _TURN = 0.5, 0.165, 0.14
_LEAD, _GAP = 0.42, 0.26  # from a node's middle to its followers' boxes, from a box to its node
_PITCH = _LEAD + BOX_WIDTH + _GAP + _RADIUS
_LANE, _LANES = 0.07, 0.22  # between the ways that leave a node; all of them together
_CONCAT = "#b8c0cc"


class _Place(NamedTuple):
    """Where a state of the tree stands: its row, and how many nodes are before it."""

    row: int
    depth: int


def recurrent_size(genotype: Any, cell: str) -> tuple[float, float]:
    """Width and height in inches of the picture of a recurrent cell, its heading included."""
    places = _places(genotype, cell)
    depth = max(place.depth for place in places.values())
    width = 2 * (MARGIN + STATE_WIDTH) + 3 * _GAP + 2 * _RADIUS + depth * _PITCH + _LEAD
    return width, HEADING + 0.3 + max(genotype.nodes(cell), 2) * _ROW + MARGIN / 2


def draw_recurrent(axes: Axes, genotype: Any, cell: str, shared: CommonEdges | None, gid: str) -> None:
    """Draw a recurrent cell as ``darts.plotting.cell.draw_cell`` draws a cell."""
    edges = genotype.edges(cell)
    differs = [None] * len(edges) if shared is None else shared.differs(edges)
    places = _places(genotype, cell)
    depth = max(place.depth for place in places.values())
    first = MARGIN + STATE_WIDTH + 2 * _GAP + _RADIUS
    spots = {
        number: (first + place.depth * _PITCH, -HEADING - 0.15 - (place.row + 0.5) * _ROW)
        for number, place in places.items()
    }
    heading(axes, cell)
    x, y = spots[0]
    for name, side in (("$x_t$", 1), ("$h_{t-1}$", -1)):
        level = y + side * 0.6 * STATE_HEIGHT
        state(axes, MARGIN, level, STATE_HEIGHT, name)
        tip = (x - 0.93 * _RADIUS, y + 0.37 * _RADIUS * side)
        arrow(axes, [(MARGIN + STATE_WIDTH, level), (tip[0] - 0.16, level), tip], INK, 1.4)

    right = first + depth * _PITCH + _RADIUS + _GAP + _LEAD
    outputs = genotype.concat(cell)
    levels = [spots[number][1] for number in outputs]
    for number, level in zip(outputs, levels, strict=True):
        only_here = shared is not None and number not in shared.concat
        style = (INK, 2.4) if only_here else (_CONCAT, 1.4)
        arrow(axes, [(spots[number][0] + _RADIUS, level), (right, level)], *style)
    middle, height = (max(levels) + min(levels)) / 2, max(levels) - min(levels) + STATE_HEIGHT
    state(axes, right, middle, height, "$h_t$")
    if len(outputs) > 1:
        label(axes, right + STATE_WIDTH / 2, middle - 0.24, "mean", 7.5, color=QUIET)

    for index, (source, target, name) in enumerate(edges):
        followers = sorted((places[t].row, t) for s, t, _ in edges if s == source)
        rank = [t for _, t in followers].index(target)
        lane = min(_LANE, _LANES / max(len(followers) - 1, 1))
        shift = ((len(followers) - 1) / 2 - rank) * lane  # the lowest one leaves furthest left
        look = EdgeStyle.of(name, differs[index])
        _draw_edge(axes, spots[source], shift, spots[target], name, look, f"{gid}-edge-{index}")
    for number, (x, y) in spots.items():
        _draw_node(axes, x, y, number)


def _places(genotype: Any, cell: str) -> dict[int, _Place]:
    """Each state's place: rows in the order in which a walk through the tree first comes by.

    State 0, which is never an output, shares the row of the first node.
    """
    edges = genotype.edges(cell)
    places = {0: _Place(0, 0)}
    waiting = [target for source, target, _ in reversed(edges) if source == 0]
    before = {target: source for source, target, _ in edges}
    while waiting:
        number = waiting.pop()
        places[number] = _Place(len(places) - 1, places[before[number]].depth + 1)
        waiting += [target for source, target, _ in reversed(edges) if source == number]
    return places


def _draw_edge(
    axes: Axes,
    source: tuple[float, float],
    shift: float,
    target: tuple[float, float],
    name: str,
    look: EdgeStyle,
    gid: str,
) -> None:
    """The way down from a node and into a follower's row, the activation's box, the arrow."""
    (x0, y0), (x1, y1) = source, target
    box = x1 - _RADIUS - _GAP - BOX_WIDTH
    if y0 == y1:
        way = route([(x0, y0), (box, y1)], "ML")
    else:
        trunk = x0 + shift
        corner = [(trunk, y1 + _TURN), (trunk, y1), (trunk + _TURN, y1)]
        way = route([(trunk, y0), *corner, (box, y1)], "MLQQL")
    patch(axes, way, facecolor="none", zorder=2, gid=f"{gid}-curve", **look.stroke)
    operation_box(axes, box, y1, name, look, f"{gid}-box")
    ends = [(box + BOX_WIDTH, y1), (x1 - _RADIUS, y1)]
    arrow(axes, ends, look.line, look.weight, look.alpha)


def _draw_node(axes: Axes, x: float, y: float, number: int) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((x, y), _RADIUS, facecolor=INK, edgecolor=INK, zorder=4))
    label(axes, x, y, str(number), 10, color="white", fontweight="bold")
