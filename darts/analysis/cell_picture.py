"""The picture of one cell: where its states, operations and curves go.

Each node has a row of its own: its two operations stand in boxes to its left, and to its right
nothing but its way to the output. A curve from an earlier state bends into the row in the gap
behind that state and then runs straight to its box, so no curve passes behind a box of another
edge and no two labels can meet, whatever the genotype.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from darts.spaces.genotype import Genotype

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Lengths are in inches, at which the figure is drawn one to one.
_ROW, _LANE = 0.80, 0.165
_BOX_WIDTH, _BOX_HEIGHT = 1.06, 0.245
_STATE_WIDTH, _STATE_HEIGHT, _RADIUS = 0.62, 0.36, 0.165
_BEND, _GAP, MARGIN, _HEADING = 0.72, 0.28, 0.22, 0.42
_PITCH = _BEND + _BOX_WIDTH + _GAP + 2 * _RADIUS

INK, _QUIET, _CONCAT = "#1f2933", "#7b8794", "#b8c0cc"
_FAMILIES = {  # (line and border, fill)
    "pool": ("#c05621", "#fff6ee"),
    "skip": ("#2f855a", "#f0faf4"),
    "sep": ("#2b6cb0", "#eff6fd"),
    "dil": ("#805ad5", "#f6f2fe"),
    "conv": ("#0f766e", "#ecfaf8"),
    "none": ("#7b8794", "#f5f7fa"),
}


@dataclass(frozen=True)
class Shared:
    """What a cell has in common with the one it is compared with: edges and output states."""

    edges: Counter[tuple[int, int, str]]
    concat: frozenset[int]


@dataclass(frozen=True)
class _Curve:
    """One edge on paper: where it leaves its source and where its operation's box stands."""

    source: int
    operation: str
    start: tuple[float, float]
    box: tuple[float, float]  # the middle of its left side
    node: tuple[float, float]  # the centre of the target
    differs: bool | None  # None where nothing is compared


def cell_width(nodes: int) -> float:
    """Width in inches of the picture of a cell."""
    return 2 * (MARGIN + _STATE_WIDTH) + nodes * _PITCH + _BEND


def cell_height(nodes: int) -> float:
    """Height in inches of the picture of a cell, its heading included."""
    return _HEADING + 0.24 + nodes * _ROW + MARGIN / 2


def draw_cell(axes: Axes, genotype: Genotype, cell: str, shared: Shared | None, gid: str) -> None:
    """Draw a cell into axes whose unit is an inch, from ``(0, 0)`` at the top left downwards.

    Args:
        axes: where to draw.
        genotype: whose cell.
        cell: ``"normal"`` or ``"reduce"``.
        shared: what to draw faintly, the rest standing out; None draws everything alike.
        gid: prefix of the SVG ids of the boxes and curves.
    """
    from matplotlib.patches import Circle

    nodes = genotype.nodes(cell)
    left = MARGIN + _STATE_WIDTH
    rows = [-_HEADING - 0.12 - (i + 0.5) * _ROW for i in range(nodes)]
    # A state is where its curves leave it: the middle of its right-hand side.
    exits = [(left, rows[0] + 0.30), (left, rows[-1] - 0.30)]
    exits += [(left + (i + 1) * _PITCH, rows[i]) for i in range(nodes)]

    heading = "Normal cell" if cell == "normal" else "Reduction cell"
    axes.text(MARGIN, -0.2, heading, fontsize=11.5, color=_QUIET, va="center")
    for (x, y), name in zip(exits[:2], ("$c_{k-2}$", "$c_{k-1}$"), strict=True):
        _state(axes, x - _STATE_WIDTH, y, _STATE_HEIGHT, name)
    for index, (x, y) in enumerate(exits[2:]):
        axes.add_patch(Circle((x - _RADIUS, y), _RADIUS, facecolor=INK, edgecolor=INK, zorder=4))
        _label(axes, x - _RADIUS, y, str(index), 10, color="white", fontweight="bold")
    for index, curve in enumerate(_plan(genotype, cell, exits, shared)):
        _draw_curve(axes, curve, f"{gid}-edge-{index}")

    right = left + nodes * _PITCH + _BEND
    height = rows[0] - rows[-1] + 2 * _LANE + _BOX_HEIGHT
    _state(axes, right, (rows[0] + rows[-1]) / 2, height, "$c_{k}$")
    for state in genotype.concat(cell):
        only_here = shared is not None and state not in shared.concat
        style = (INK, 2.4) if only_here else (_CONCAT, 1.4)
        _arrow(axes, [exits[state], (right, exits[state][1])], *style)


def _plan(
    genotype: Genotype, cell: str, exits: Sequence[tuple[float, float]], shared: Shared | None
) -> list[_Curve]:
    """Give every edge a box and a point on its source, so that few curves cross."""
    edges = genotype.edges(cell)
    boxes: list[tuple[float, float]] = []
    for node in range(genotype.nodes(cell)):
        pair = [edges[2 * node][0], edges[2 * node + 1][0]]
        # Top down: the latest node, earlier ones, then the inputs; c_{k-1} comes from below.
        upper = 0 if _from_above(pair[0]) >= _from_above(pair[1]) else 1
        x, y = exits[node + 2]
        corner = x - 2 * _RADIUS - _GAP - _BOX_WIDTH
        boxes += [(corner, y + _LANE * (1 if i == upper else -1)) for i in range(2)]
    remaining = None if shared is None else shared.edges.copy()
    curves = []
    for index, (source, target, operation) in enumerate(edges):
        leaving = [boxes[i] for i, edge in enumerate(edges) if edge[0] == source]
        leaving.sort(key=lambda box: -box[1])
        rank = leaving.index(boxes[index])
        x, y = exits[source]
        if source < 2:
            offset = (rank + 1) / (len(leaving) + 1) - 0.5
            start = (x, y - 0.8 * _STATE_HEIGHT * offset)
        else:  # below the middle, which is the way to the output
            start = (x - _RADIUS, y - 0.13 * (rank + 1) / len(leaving))
        differs = None
        if remaining is not None:
            differs = remaining[source, target, operation] == 0
            remaining[source, target, operation] -= not differs
        centre = (exits[target][0] - _RADIUS, exits[target][1])
        curves.append(_Curve(source, operation, start, boxes[index], centre, differs))
    return curves


def _from_above(source: int) -> int:
    return source if source >= 2 else -source


def _draw_curve(axes: Axes, curve: _Curve, gid: str) -> None:
    """The curve to the operation's box, the box with its name, the arrow to the node."""
    line, fill = _family(curve.operation)
    weight, alpha, ink = 1.7, 1.0, line
    if curve.differs:
        weight, fill, ink = 2.6, line, "white"
    elif curve.differs is not None:
        weight, alpha = 1.4, 0.35
    dashes = "--" if curve.operation == "none" else "-"
    (x0, y0), (x1, y1), (x2, y2) = curve.start, curve.box, curve.node
    exit_x = x0 if curve.source < 2 else x0 + _RADIUS
    bend = min(exit_x + _BEND, x1)
    reach = (bend - exit_x) * 0.55
    route = _path(
        [(x0, y0), (exit_x, y0), (exit_x + reach, y0), (bend - reach, y1), (bend, y1), (x1, y1)],
        "MLCCCL",
    )
    style = {"edgecolor": line, "alpha": alpha, "linewidth": weight, "linestyle": dashes}
    # A white border tells two curves of one colour apart where they cross.
    order = 2.0 + 0.1 * bool(curve.differs)
    casing = {"edgecolor": "white", "linewidth": weight + 2.0}
    _patch(axes, route, facecolor="none", zorder=order, **casing)
    _patch(axes, route, facecolor="none", zorder=order, gid=f"{gid}-curve", **style)
    _rounded(axes, x1, y1, _BOX_WIDTH, _BOX_HEIGHT, facecolor="white", edgecolor="white", zorder=3)
    _rounded(
        axes,
        x1,
        y1,
        _BOX_WIDTH,
        _BOX_HEIGHT,
        facecolor=fill,
        zorder=3.1,
        gid=f"{gid}-box",
        **{**style, "linewidth": 1.2},
    )
    _label(axes, x1 + _BOX_WIDTH / 2, y1, curve.operation, 8.6, color=ink, alpha=max(alpha, 0.5))
    side = 1 if y1 > y2 else -1
    tip = (x2 - 0.93 * _RADIUS, y2 + 0.37 * _RADIUS * side)
    _arrow(axes, [(x1 + _BOX_WIDTH, y1), (tip[0] - 0.14, y1), tip], line, weight, alpha)


def _family(operation: str) -> tuple[str, str]:
    for key in ("none", "pool", "skip", "sep", "dil"):
        if key in operation:
            return _FAMILIES[key]
    return _FAMILIES["conv"]


def _state(axes: Axes, x: float, y: float, height: float, name: str) -> None:
    style = {"facecolor": "#e8edf3", "edgecolor": INK, "linewidth": 1.0, "zorder": 4}
    _rounded(axes, x, y, _STATE_WIDTH, height, **style)
    _label(axes, x + _STATE_WIDTH / 2, y, name, 12, color=INK, va="center")


def _label(axes: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    centred: dict[str, Any] = {"ha": "center", "va": "center_baseline", "zorder": 5}
    axes.text(x, y, text, fontsize=size, **(centred | style))


def _rounded(axes: Axes, x: float, y: float, width: float, height: float, **style: Any) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.07"
    axes.add_patch(FancyBboxPatch((x, y - height / 2), width, height, boxstyle=shape, **style))


def _path(points: Sequence[tuple[float, float]], codes: str) -> Any:
    from matplotlib.path import Path

    kinds = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, "C": Path.CURVE4}
    return Path(points, [kinds[code] for code in codes])


def _patch(axes: Axes, path: Any, **style: Any) -> None:
    from matplotlib.patches import PathPatch

    axes.add_patch(PathPatch(path, capstyle="round", **style))


def _arrow(
    axes: Axes, points: Sequence[tuple[float, float]], color: str, weight: float, alpha: float = 1.0
) -> None:
    """A straight arrow through two points, or a bent one with the middle of three as control."""
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(
        FancyArrowPatch(
            path=_path(points, "ML" if len(points) == 2 else "MQQ"),
            arrowstyle="-|>,head_length=4,head_width=2.2",
            mutation_scale=1,
            color=color,
            alpha=alpha,
            linewidth=weight,
            zorder=2,
        )
    )
