"""Figures of one genotype, or of two side by side, with one cell above the other.

``darts.plotting.cell`` draws a cell, ``darts.plotting.chain`` a chain of operations,
``darts.plotting.recurrent_cell`` a recurrent cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict

from darts.plotting.cell import cell_size, draw_cell
from darts.plotting.chain import chain_size, draw_chain
from darts.plotting.recurrent_cell import draw_recurrent, recurrent_size
from darts.plotting.shapes import INK, MARGIN, CommonEdges, EdgeImportance
from darts.plotting.style import file_format, save_figure
from darts.spaces import AnyGenotype
from darts.spaces.describe import check_comparable, is_chain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class EdgeScoreDrop(TypedDict):
    """Edge of a genotype with the loss of score without it; None if it cannot be removed."""

    source: int
    target: int
    operation: str
    score_drop: float | None


class _DrawCell(Protocol):
    def __call__(
        self,
        axes: Axes,
        genotype: AnyGenotype,
        cell: str,
        common: CommonEdges | None,
        gid: str,
        importance: EdgeImportance | None = None,
    ) -> None: ...


def draw_genotype(genotype: AnyGenotype, *, title: str | None = None) -> Figure:
    """Draw all cells of a genotype of any space, one above the other.

    Colors distinguish the families of operations: pooling, skip connection, separable, dilated and
    other convolutions, none; kernel sizes of inverted residual blocks; and activations.
    """
    return _draw([genotype], [title] if title else [], {})


def draw_edge_importances(
    genotype: AnyGenotype,
    edges: Mapping[str, Sequence[EdgeScoreDrop]],
    *,
    percent: bool = False,
    title: str | None = None,
) -> Figure:
    """Draw a genotype whose edges are wider and darker the more score is lost without them.

    Args:
        genotype: Genotype of a space whose cells have removable edges.
        edges: Edges by cell, from ``darts.judging.edge_importance``.
        percent: Whether the score is a fraction, labeled in percentage points.
        title: Title of the figure.
    """
    drops = {cell: [edge["score_drop"] for edge in own] for cell, own in edges.items()}
    positive = [drop for own in drops.values() for drop in own if drop and drop > 0]
    importance = EdgeImportance(drops, max(positive, default=1.0), percent)
    return _draw([genotype], [title] if title else [], {}, importance)


def compare_genotypes(a: AnyGenotype, b: AnyGenotype, names: tuple[str, str]) -> Figure:
    """Draw two genotypes side by side; common edges are faint, the others stand out.

    As in ``darts.spaces.describe.difference``, the order of a node's edges does not matter.

    Args:
        a: Left genotype.
        b: Right genotype, of the same space.
        names: Titles of the two.

    Raises:
        ValueError: If the genotypes are of different spaces.
    """
    check_comparable(a, b)
    common = {
        cell: CommonEdges(
            Counter(a.edges(cell)) & Counter(b.edges(cell)),
            frozenset(a.concat(cell)) & frozenset(b.concat(cell)),
        )
        for cell in a.cells
    }
    return _draw([a, b], list(names), common)


def save_genotype(genotype: AnyGenotype, path: str | Path, title: str | None = None) -> None:
    """Draw a genotype to a file. Equal genotypes and titles give equal SVG files.

    Raises:
        ValueError: If the suffix is not ``.svg``, ``.png`` or ``.pdf``.
    """
    file_format(path)
    save_figure(draw_genotype(genotype, title=title), path)


def _draw(
    genotypes: list[AnyGenotype],
    titles: list[str],
    common: dict[str, CommonEdges],
    importance: EdgeImportance | None = None,
) -> Figure:
    from matplotlib.figure import Figure

    # The unit of the axes is an inch on paper.
    cells = genotypes[0].cells
    sizes = [{cell: _size(genotype, cell) for cell in cells} for genotype in genotypes]
    width = max(size[cell][0] for size in sizes for cell in cells)
    heights = {cell: max(size[cell][1] for size in sizes) for cell in cells}
    banner = 0.5 if titles else 0.1
    total = sum(heights.values()) + banner
    figure = Figure(figsize=(width * len(genotypes), total), facecolor="white")
    for column, genotype in enumerate(genotypes):
        if titles:
            text = "".join(c if c.isprintable() else " " for c in titles[column])
            figure.text(
                (column * width + MARGIN) / (width * len(genotypes)),
                1 - 0.3 / total,
                text,
                fontsize=15,
                fontweight="bold",
                color=INK,
                va="center",
                parse_math=False,
            )
        top = total - banner
        for cell in cells:
            top -= heights[cell]
            axes = figure.add_axes(
                (column / len(genotypes), top / total, 1 / len(genotypes), heights[cell] / total)
            )
            axes.set_axis_off()
            axes.set(xlim=(0, width), ylim=(-heights[cell], 0))
            draw = _drawing_function(genotype, cell)
            draw(axes, genotype, cell, common.get(cell), f"{cell}-{column}", importance)
    return figure


def _size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    if getattr(genotype, "recurs", False):
        return recurrent_size(genotype, cell)
    return chain_size(genotype, cell) if is_chain(genotype, cell) else cell_size(genotype, cell)


def _drawing_function(genotype: AnyGenotype, cell: str) -> _DrawCell:
    if getattr(genotype, "recurs", False):
        return draw_recurrent
    return draw_chain if is_chain(genotype, cell) else draw_cell
