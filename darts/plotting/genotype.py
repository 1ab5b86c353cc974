"""Figures of one genotype, or of two side by side, with one cell above the other.

``darts.plotting.cell`` draws a cell, ``darts.plotting.chain`` a chain of operations,
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
from darts.plotting.style import ArtistStyle, file_format, save_figure
from darts.spaces import AnyGenotype
from darts.spaces.describe import check_comparable, is_chain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from darts.judging.edge_importance import EdgeDrop


def draw_genotype(genotype: AnyGenotype, *, title: str | None = None) -> Figure:
    """Draw all cells of a genotype of any space, one above the other.

    Colors distinguish the families of operations: pooling, skip connection, separable, dilated and
    other convolutions, none; kernel sizes of inverted residual blocks; and activations.
    """
    return _draw([genotype], [title] if title else [], {})


def draw_edge_importances(
    genotype: AnyGenotype,
    edges: Mapping[str, Sequence[EdgeDrop]],
    *,
    percent: bool = False,
    title: str | None = None,
) -> Figure:
    """Draw a genotype whose edges are wider and darker the more score is lost without them.

    The edges are from ``darts.judging.edge_importance``. With ``percent`` the score is a fraction
    and its loss is labeled in percentage points.
    """
    drops = {cell: [edge["score_drop"] for edge in own] for cell, own in edges.items()}
    positive = [drop for own in drops.values() for drop in own if drop and drop > 0]
    importance = EdgeImportance(drops, max(positive, default=1.0), percent)
    return _draw([genotype], [title] if title else [], {}, importance)


def compare_genotypes(a: AnyGenotype, b: AnyGenotype, names: tuple[str, str]) -> Figure:
    """Draw two genotypes side by side; common edges are faint, the others stand out.

    As in ``darts.spaces.describe.difference``, the order of a node's edges does not matter.
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
    """Draw a genotype to a file. Equal genotypes and titles give equal SVG files."""
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
    sizes = [{c: _figure_functions(g, c)[0](g, c) for c in cells} for g in genotypes]
    width = max(size[cell][0] for size in sizes for cell in cells)
    heights = {cell: max(size[cell][1] for size in sizes) for cell in cells}
    banner = 0.5 if titles else 0.1
    total = sum(heights.values()) + banner
    figure = Figure(figsize=(width * len(genotypes), total), facecolor="white")
    title_style: ArtistStyle = {"size": 15, "weight": "bold", "color": INK, "va": "center"}
    for column, genotype in enumerate(genotypes):
        if titles:
            text = "".join(c if c.isprintable() else " " for c in titles[column])
            x = (column * width + MARGIN) / (width * len(genotypes))
            figure.text(x, 1 - 0.3 / total, text, parse_math=False, **title_style)
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
            _figure_functions(genotype, cell)[1](canvas)
    return figure


def _figure_functions(
    genotype: AnyGenotype, cell: str
) -> tuple[Callable[[AnyGenotype, str], tuple[float, float]], Callable[[CellCanvas], None]]:
    """Return the functions that compute the size of the figure of a cell and draw it."""
    if getattr(genotype, "recurs", False):
        return recurrent_size, draw_recurrent
    return (chain_size, draw_chain) if is_chain(genotype, cell) else (cell_size, draw_cell)
