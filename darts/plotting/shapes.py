"""Boxes, arrows and colors that pictures of genotypes are drawn with; lengths are in inches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOX_WIDTH, BOX_HEIGHT = 1.06, 0.245
STATE_WIDTH, STATE_HEIGHT = 0.62, 0.36
MARGIN, HEADING = 0.22, 0.42

INK, QUIET = "#1f2933", "#7b8794"
_FAMILIES = {  # a part of the operation's name -> line and border, fill
    "none": ("#7b8794", "#f5f7fa"),
    "pool": ("#c05621", "#fff6ee"),
    "skip": ("#2f855a", "#f0faf4"),
    "sep": ("#2b6cb0", "#eff6fd"),
    "dil": ("#805ad5", "#f6f2fe"),
    "_k5": ("#2b6cb0", "#eff6fd"),
    "_k7": ("#805ad5", "#f6f2fe"),
    "tanh": ("#2b6cb0", "#eff6fd"),
    "relu": ("#c05621", "#fff6ee"),
    "sigmoid": ("#805ad5", "#f6f2fe"),
    "attention": ("#805ad5", "#f6f2fe"),
    "gelu": ("#2b6cb0", "#eff6fd"),
    "identity": ("#2f855a", "#f0faf4"),
    "": ("#0f766e", "#ecfaf8"),
}


@dataclass(frozen=True)
class CommonEdges:
    """What a cell has in common with the one it is compared with: edges and output states."""

    edges: Counter[tuple[int, int, str]]
    concat: frozenset[int]

    def differs(self, edges: Sequence[tuple[int, int, str]]) -> list[bool]:
        """Of each edge, whether the other cell lacks it."""
        remaining = self.edges.copy()
        answers = []
        for edge in edges:
            answers.append(remaining[edge] == 0)
            remaining[edge] -= not answers[-1]
        return answers


@dataclass(frozen=True)
class EdgeImportance:
    """What a network loses without each edge: by cell, the most of all, and how it is written.

    Of an edge that cannot be taken out it is None.
    """

    by_cell: Mapping[str, Sequence[float | None]]
    most: float
    percent: bool = False

    def written(self, loss: float) -> str:
        """A loss as its edge is labeled."""
        return f"{100 * loss:+.1f}" if self.percent else f"{loss:+.3f}"


@dataclass(frozen=True)
class EdgeStyle:
    """How an operation is drawn: line, fill and ink of its box, weight and opacity of its curve."""

    line: str
    fill: str
    ink: str
    weight: float
    alpha: float
    dashes: str

    @classmethod
    def of(cls, operation: str, differs: bool | None) -> EdgeStyle:
        """By the operation's family; what differs stands out, unless nothing is compared (None)."""
        line, fill = next(look for part, look in _FAMILIES.items() if part in operation)
        dashes = "--" if operation == "none" else "-"
        if differs:
            return cls(line, line, "white", 2.6, 1.0, dashes)
        if differs is None:
            return cls(line, fill, line, 1.7, 1.0, dashes)
        return cls(line, fill, line, 1.4, 0.35, dashes)

    @classmethod
    def weighed(cls, share: float) -> EdgeStyle:
        """By a share in [0, 1], from thin and pale to thick and dark."""
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        share = min(max(share, 0.0), 1.0)
        color = to_hex(colormaps["YlOrRd"](0.25 + 0.7 * share))
        return cls(color, color, "white" if share > 0.4 else INK, 1.0 + 5.0 * share, 1.0, "-")

    @property
    def stroke(self) -> dict[str, Any]:
        """Arguments of matplotlib's patches."""
        return {
            "edgecolor": self.line,
            "alpha": self.alpha,
            "linewidth": self.weight,
            "linestyle": self.dashes,
        }


def operation_box(axes: Axes, x: float, y: float, operation: str, look: EdgeStyle, gid: str) -> None:
    """A box with the operation's name; ``(x, y)`` is the middle of its left side."""
    size = (BOX_WIDTH, BOX_HEIGHT)
    rounded(axes, x, y, *size, facecolor="white", edgecolor="white", zorder=3)
    style = {**look.stroke, "linewidth": 1.2}
    rounded(axes, x, y, *size, facecolor=look.fill, zorder=3.1, gid=gid, **style)
    ink = {"color": look.ink, "alpha": max(look.alpha, 0.5)}
    label(axes, x + BOX_WIDTH / 2, y, operation, 8.6, **ink)


def heading(axes: Axes, cell: str) -> None:
    """The name of a cell above its picture."""
    named = {"normal": "Normal cell", "reduce": "Reduction cell", "recurrent": "Recurrent cell"}
    text = named.get(cell, cell.capitalize())
    axes.text(MARGIN, -0.2, text, fontsize=11.5, color=QUIET, va="center")


def state(axes: Axes, x: float, y: float, height: float, name: str) -> None:
    """The box of a cell's input or output; ``(x, y)`` is the middle of its left side."""
    style = {"facecolor": "#e8edf3", "edgecolor": INK, "linewidth": 1.0, "zorder": 4}
    rounded(axes, x, y, STATE_WIDTH, height, **style)
    size = 12 if name.startswith("$") else 10
    label(axes, x + STATE_WIDTH / 2, y, name, size, color=INK, va="center")


def label(axes: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Centerd text."""
    centerd: dict[str, Any] = {"ha": "center", "va": "center_baseline", "zorder": 5}
    axes.text(x, y, text, fontsize=size, **(centerd | style))


def rounded(axes: Axes, x: float, y: float, width: float, height: float, **style: Any) -> None:
    """A box with round corners; ``(x, y)`` is the middle of its left side."""
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.07"
    axes.add_patch(FancyBboxPatch((x, y - height / 2), width, height, boxstyle=shape, **style))


def route(points: Sequence[tuple[float, float]], codes: str) -> Any:
    """A matplotlib path: M moves, L draws a line, Q (twice) and C (three times) a curve."""
    from matplotlib.path import Path

    kinds = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, "C": Path.CURVE4}
    return Path(points, [kinds[code] for code in codes])


def patch(axes: Axes, path: Any, **style: Any) -> None:
    """Draw a path."""
    from matplotlib.patches import PathPatch

    axes.add_patch(PathPatch(path, capstyle="round", **style))


def arrow(
    axes: Axes, points: Sequence[tuple[float, float]], color: str, weight: float, alpha: float = 1.0
) -> None:
    """A straight arrow through two points, or a bent one with the middle of three as control."""
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(
        FancyArrowPatch(
            path=route(points, "ML" if len(points) == 2 else "MQQ"),
            arrowstyle="-|>,head_length=4,head_width=2.2",
            mutation_scale=1,
            color=color,
            alpha=alpha,
            linewidth=weight,
            zorder=2,
        )
    )
