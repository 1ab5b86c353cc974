"""Pictures of a genotype, drawn with matplotlib alone.

A figure shows one genotype, or two side by side, one cell above the other;
``darts.plotting.cell`` lays out a single cell, ``darts.plotting.chain`` one that is
nothing but a row of operations, ``darts.plotting.recurrent_cell`` a recurrent one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts.plotting.cell import cell_size, draw_cell
from darts.plotting.chain import chain_size, draw_chain
from darts.plotting.recurrent_cell import draw_recurrent, recurrent_size
from darts.plotting.shapes import INK, MARGIN, EdgeImportance, CommonEdges
from darts.plotting.style import file_format, save_figure
from darts.spaces.describe import check_comparable, is_chain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_genotype(genotype: Any, *, title: str | None = None) -> Figure:
    """All cells of a genotype of any space, one above the other.

    Colors tell the families of operations apart: pooling, skip connection, separable, dilated
    and other convolutions, none; of inverted residual blocks those of three kernels; and
    activations.
    """
    return _draw([genotype], [title] if title else [], {})


def draw_edge_importances(
    genotype: Any,
    edges: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    percent: bool = False,
    title: str | None = None,
) -> Figure:
    """A genotype whose edges are as wide and dark as what is lost without them.

    Args:
        genotype: of a space whose cells have edges.
        edges: of ``darts.judging.edge_importance.importances``.
        percent: what is lost is a share of one, and written in percentage points.
        title: heading.
    """
    lost = {cell: [edge["score_drop"] for edge in own] for cell, own in edges.items()}
    most = max([loss for own in lost.values() for loss in own if loss and loss > 0], default=1.0)
    return _draw([genotype], [title] if title else [], {}, EdgeImportance(lost, most, percent))


def compare_genotypes(a: Any, b: Any, names: tuple[str, str]) -> Figure:
    """Two genotypes side by side; what only one of them has stands out, the rest is faint.

    As in ``darts.spaces.describe.difference``, the order of a node's edges does not count.

    Args:
        a: the left genotype.
        b: the right one, of the same space.
        names: what to write above each.

    Raises:
        ValueError: for genotypes of different spaces.
    """
    check_comparable(a, b)
    shared = {
        cell: CommonEdges(
            Counter(a.edges(cell)) & Counter(b.edges(cell)),
            frozenset(a.concat(cell)) & frozenset(b.concat(cell)),
        )
        for cell in a.cells
    }
    return _draw([a, b], list(names), shared)


def save_genotype(genotype: Any, path: str | Path, title: str | None = None) -> None:
    """Draw a genotype into a file; equal genotypes and titles give equal SVG bytes.

    Raises:
        ValueError: the name does not end in ``.svg``, ``.png`` or ``.pdf``.
    """
    file_format(path)
    save_figure(draw_genotype(genotype, title=title), path)


def _draw(
    genotypes: list[Any],
    titles: list[str],
    shared: dict[str, CommonEdges],
    lost: EdgeImportance | None = None,
) -> Figure:
    from matplotlib.figure import Figure

    # Inches: the axes of a cell are as many units wide and high as inches on paper.
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
            _, draw = _way(genotype, cell)
            others = {} if lost is None else {"lost": lost}
            draw(axes, genotype, cell, shared.get(cell), f"{cell}-{column}", **others)
    return figure


def _size(genotype: Any, cell: str) -> tuple[float, float]:
    size, _ = _way(genotype, cell)
    width, height = size(genotype, cell)
    return width, height


def _way(genotype: Any, cell: str) -> tuple[Any, Any]:
    """How a cell is drawn: what tells its size, and what draws it."""
    if getattr(genotype, "recurs", False):
        return recurrent_size, draw_recurrent
    if is_chain(genotype, cell):
        return chain_size, draw_chain
    return cell_size, draw_cell
