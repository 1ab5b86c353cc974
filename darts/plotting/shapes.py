"""Boxes, arrows and colors of genotype figures. Lengths are in inches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from darts.plotting.style import ArtistStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

BOX_WIDTH, BOX_HEIGHT = 1.06, 0.245
STATE_WIDTH, STATE_HEIGHT = 0.62, 0.36
MARGIN, HEADING = 0.22, 0.42

INK, QUIET = "#1f2933", "#7b8794"
CONCAT = "#b8c0cc"  # arrows from nodes to the output of a cell
_FAMILIES = {  # substring of the operation's name -> color of line and border, fill
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
    """Edges and output states that a cell shares with the cell it is compared with."""

    edges: Counter[tuple[int, int, str]]
    concat: frozenset[int]

    def differs(self, edges: Sequence[tuple[int, int, str]]) -> list[bool]:
        """Return for each edge whether the other cell lacks it."""
        remaining = self.edges.copy()
        answers = []
        for edge in edges:
            answers.append(remaining[edge] == 0)
            remaining[edge] -= not answers[-1]
        return answers


@dataclass(frozen=True)
class EdgeImportance:
    """Loss of score when an edge is removed.

    Attributes:
        by_cell: Loss of each edge by cell; None for an edge that cannot be removed.
        largest: The largest loss of all.
        percent: Whether labels are percentage points.
    """

    by_cell: Mapping[str, Sequence[float | None]]
    largest: float
    percent: bool = False

    def label(self, loss: float) -> str:
        """Return the label of an edge."""
        return f"{100 * loss:+.1f}" if self.percent else f"{loss:+.3f}"


@dataclass(frozen=True)
class EdgeStyle:
    """Style of an edge: line, fill and text color of its box, width and opacity of its curve."""

    line: str
    fill: str
    ink: str
    width: float
    alpha: float
    dashes: str

    @classmethod
    def for_operation(cls, operation: str, differs: bool | None) -> EdgeStyle:
        """Return the style of an operation's family.

        Args:
            operation: Name of the operation.
            differs: Whether to emphasize the edge; None if nothing is compared.
        """
        line, fill = next(colors for word, colors in _FAMILIES.items() if word in operation)
        dashes = "--" if operation == "none" else "-"
        if differs:
            return cls(line, line, "white", 2.6, 1.0, dashes)
        if differs is None:
            return cls(line, fill, line, 1.7, 1.0, dashes)
        return cls(line, fill, line, 1.4, 0.35, dashes)

    @classmethod
    def for_importance(cls, fraction: float) -> EdgeStyle:
        """Return a style between thin and pale (0) and thick and dark (1)."""
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        fraction = min(max(fraction, 0.0), 1.0)
        color = to_hex(colormaps["YlOrRd"](0.25 + 0.7 * fraction))
        ink = "white" if fraction > 0.4 else INK
        return cls(color, color, ink, 1.0 + 5.0 * fraction, 1.0, "-")

    @property
    def stroke(self) -> ArtistStyle:
        """Keyword arguments of matplotlib's patches."""
        return {
            "edgecolor": self.line,
            "alpha": self.alpha,
            "linewidth": self.width,
            "linestyle": self.dashes,
        }


def operation_box(
    axes: Axes, x: float, y: float, operation: str, style: EdgeStyle, gid: str
) -> None:
    """Draw a box with the operation's name; ``(x, y)`` is the middle of its left side."""
    size = (BOX_WIDTH, BOX_HEIGHT)
    rounded_box(axes, x, y, *size, facecolor="white", edgecolor="white", zorder=3)
    stroke = {**style.stroke, "linewidth": 1.2}
    rounded_box(axes, x, y, *size, facecolor=style.fill, zorder=3.1, gid=gid, **stroke)
    ink = {"color": style.ink, "alpha": max(style.alpha, 0.5)}
    label(axes, x + BOX_WIDTH / 2, y, operation, 8.6, **ink)


def heading(axes: Axes, cell: str) -> None:
    """Draw the name of a cell above its figure."""
    titles = {"normal": "Normal cell", "reduce": "Reduction cell", "recurrent": "Recurrent cell"}
    text = titles.get(cell, cell.capitalize())
    axes.text(MARGIN, -0.2, text, fontsize=11.5, color=QUIET, va="center")


def state_box(axes: Axes, x: float, y: float, height: float, name: str) -> None:
    """Draw the box of an input or output of a cell; ``(x, y)`` is the middle of its left side."""
    style: ArtistStyle = {"facecolor": "#e8edf3", "edgecolor": INK, "linewidth": 1.0, "zorder": 4}
    rounded_box(axes, x, y, STATE_WIDTH, height, **style)
    size = 12 if name.startswith("$") else 10
    label(axes, x + STATE_WIDTH / 2, y, name, size, color=INK, va="center")


def node_circle(axes: Axes, x: float, y: float, radius: float, number: int) -> None:
    """Draw a node as a circle with its number; ``(x, y)`` is its center."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle((x, y), radius, facecolor=INK, edgecolor=INK, zorder=4))
    label(axes, x, y, str(number), 10, color="white", fontweight="bold")


def label(axes: Axes, x: float, y: float, text: str, size: float, **style: object) -> None:
    """Draw centered text."""
    centered: ArtistStyle = {"ha": "center", "va": "center_baseline", "zorder": 5}
    axes.text(x, y, text, fontsize=size, **(centered | style))


def rounded_box(
    axes: Axes, x: float, y: float, width: float, height: float, **style: object
) -> None:
    """Draw a box with rounded corners; ``(x, y)`` is the middle of its left side."""
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.07"
    options: ArtistStyle = style
    axes.add_patch(FancyBboxPatch((x, y - height / 2), width, height, boxstyle=shape, **options))


def make_path(points: Sequence[tuple[float, float]], codes: str) -> Path:
    """Return a matplotlib path: M moves, L draws a line, QQ and CCC draw a curve."""
    from matplotlib.path import Path

    kinds = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, "C": Path.CURVE4}
    return Path(points, [kinds[code] for code in codes])


def draw_path(axes: Axes, path: Path, **style: object) -> None:
    """Draw a path."""
    from matplotlib.patches import PathPatch

    options: ArtistStyle = style
    axes.add_patch(PathPatch(path, capstyle="round", **options))


def arrow(
    axes: Axes, points: Sequence[tuple[float, float]], color: str, width: float, alpha: float = 1.0
) -> None:
    """Draw a straight arrow through two points, or a curve with the second of three as control."""
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(
        FancyArrowPatch(
            path=make_path(points, "ML" if len(points) == 2 else "MQQ"),
            arrowstyle="-|>,head_length=4,head_width=2.2",
            mutation_scale=1,
            color=color,
            alpha=alpha,
            linewidth=width,
            zorder=2,
        )
    )
