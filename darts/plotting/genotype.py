"""Figures of one genotype, or of two side by side, with the cells from top to bottom.

``darts.plotting.cell`` draws a cell, ``darts.plotting.chain`` a chain of operations, and
``darts.plotting.recurrent_cell`` a recurrent cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darts.plotting.cell import cell_size, draw_cell
from darts.plotting.chain import chain_size, draw_chain
from darts.plotting.recurrent_cell import draw_recurrent, recurrent_size
from darts.plotting.shapes import INK, MARGIN, CellCanvas, CommonEdges, EdgeImportance
from darts.plotting.style import MAX_TITLE, ArtistStyle, file_format, label_text, save_figure
from darts.spaces import AnyGenotype
from darts.spaces.describe import check_comparable, is_chain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from darts.judging.edge_importance import EdgeDrop


def draw_genotype(genotype: AnyGenotype, *, title: str | None = None) -> Figure:
    """Draw all cells of a genotype of any space.

    Colors distinguish the families of operations: pooling, skip connection, separable, dilated and
    other convolutions, none; kernel sizes of inverted residual blocks; attention; and activations.
    """
    return _draw([genotype], [title] if title else [], {})


def draw_edge_importances(
    genotype: AnyGenotype,
    edges: Mapping[str, Sequence[EdgeDrop]],
    *,
    percent: bool = False,
    title: str | None = None,
) -> Figure:
    """Draw a genotype. The more the score drops without an edge, the wider and darker the edge is.

    Args:
        genotype: Genotype of any space except ``recurrent``.
        edges: Score drops by cell, from ``darts.judging.edge_importance``.
        percent: Whether the score is a fraction. Its drops are then labeled in percentage points.
        title: Title of the figure.

    Raises:
        ValueError: If the genotype is a recurrent cell, whose edges have no importance.
    """
    drops = {
        cell: [edge["score_drop"] for edge in cell_edges] for cell, cell_edges in edges.items()
    }
    positive = [drop for cell_drops in drops.values() for drop in cell_drops if drop and drop > 0]
    importance = EdgeImportance(drops, max(positive, default=1.0), percent)
    return _draw([genotype], [title] if title else [], {}, importance)


def compare_genotypes(a: AnyGenotype, b: AnyGenotype, names: tuple[str, str]) -> Figure:
    """Draw two genotypes side by side. Common edges are faint, the others stand out.

    As in ``darts.spaces.describe.difference``, the order of a node's edges does not matter. The
    names are the titles of the two genotypes.

    Raises:
        ValueError: If the genotypes belong to different spaces.
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
    """Draw a genotype to a file. Equal genotypes and titles give equal files.

    Raises:
        ValueError: If the suffix of ``path`` is not ``.svg``, ``.png`` or ``.pdf``.
    """
    file_format(path)  # raises before the figure is drawn
    save_figure(draw_genotype(genotype, title=title), path)


def _draw(
    genotypes: list[AnyGenotype],
    titles: list[str],
    common: dict[str, CommonEdges],
    importance: EdgeImportance | None = None,
) -> Figure:
    """Draw genotypes of one space side by side, each below its title.

    ``titles`` has a title per genotype, or none. ``common`` has the common edges by cell; it is
    empty if nothing is compared.
    """
    from matplotlib.figure import Figure

    # The unit of the axes is an inch, as CellCanvas requires.
    cells = genotypes[0].cells
    sizes = [{c: _drawing_functions(g, c)[0](g, c) for c in cells} for g in genotypes]
    width = max(size[cell][0] for size in sizes for cell in cells)
    heights = {cell: max(size[cell][1] for size in sizes) for cell in cells}
    banner = 0.5 if titles else 0.1
    total = sum(heights.values()) + banner
    figure = Figure(figsize=(width * len(genotypes), total), facecolor="white")
    title_style: ArtistStyle = {"size": 15, "weight": "bold", "color": INK, "va": "center"}
    for column, genotype in enumerate(genotypes):
        if titles:
            x = (column * width + MARGIN) / (width * len(genotypes))
            figure.text(x, 1 - 0.3 / total, label_text(titles[column], MAX_TITLE), **title_style)
        top = total - banner
        for cell in cells:
            top -= heights[cell]
            axes = figure.add_axes(
                (column / len(genotypes), top / total, 1 / len(genotypes), heights[cell] / total)
            )
            axes.set_axis_off()
            axes.set(xlim=(0, width), ylim=(-heights[cell], 0))
            gid = f"{cell}-{column}"
            canvas = CellCanvas(axes, genotype, cell, common.get(cell), importance, gid)
            _drawing_functions(genotype, cell)[1](canvas)
    return figure


def _drawing_functions(
    genotype: AnyGenotype, cell: str
) -> tuple[Callable[[AnyGenotype, str], tuple[float, float]], Callable[[CellCanvas], None]]:
    """Return the functions that compute the size of the drawing of a cell, and that draw it."""
    if getattr(genotype, "recurs", False):
        return recurrent_size, draw_recurrent
    return (chain_size, draw_chain) if is_chain(genotype, cell) else (cell_size, draw_cell)
