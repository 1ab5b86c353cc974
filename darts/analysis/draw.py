"""Pictures of a genotype, drawn with matplotlib alone.

A figure shows one genotype, or two side by side, each with its normal cell above its reduction
cell; ``darts.analysis.cell_picture`` lays out the single cell.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from darts.analysis._style import format_of, save_figure
from darts.analysis.cell_picture import INK, MARGIN, Shared, cell_height, cell_width, draw_cell
from darts.spaces.genotype import CELLS, Genotype

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_genotype(genotype: Genotype, *, title: str | None = None) -> Figure:
    """Both cells of a genotype, the normal cell above the reduction cell.

    Colours tell the families of operations apart: pooling, skip connection, separable, dilated
    and other convolutions, none.
    """
    return _draw([genotype], [title] if title else [], {})


def compare_genotypes(a: Genotype, b: Genotype, names: tuple[str, str]) -> Figure:
    """Two genotypes side by side; what only one of them has stands out, the rest is faint.

    As in ``darts.spaces.genotype.difference``, the order of a node's two edges does not count.

    Args:
        a: the left genotype.
        b: the right one.
        names: what to write above each.
    """
    shared = {
        cell: Shared(
            Counter(a.edges(cell)) & Counter(b.edges(cell)),
            frozenset(a.concat(cell)) & frozenset(b.concat(cell)),
        )
        for cell in CELLS
    }
    return _draw([a, b], list(names), shared)


def save_genotype(genotype: Genotype, path: str | Path, title: str | None = None) -> None:
    """Draw a genotype into a file; equal genotypes and titles give equal SVG bytes.

    Raises:
        ValueError: the name does not end in ``.svg``, ``.png`` or ``.pdf``.
    """
    format_of(path)
    save_figure(draw_genotype(genotype, title=title), path)


def _draw(
    genotypes: list[Genotype],
    titles: list[str],
    shared: dict[str, Shared],
) -> Figure:
    from matplotlib.figure import Figure

    # Inches: the axes of a cell are as many units wide and high as inches on paper.
    width = max(cell_width(g.nodes(cell)) for g in genotypes for cell in CELLS)
    heights = {cell: cell_height(max(g.nodes(cell) for g in genotypes)) for cell in CELLS}
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
        for cell in CELLS:
            top -= heights[cell]
            axes = figure.add_axes(
                (column / len(genotypes), top / total, 1 / len(genotypes), heights[cell] / total)
            )
            axes.set_axis_off()
            axes.set(xlim=(0, width), ylim=(-heights[cell], 0))
            draw_cell(axes, genotype, cell, shared.get(cell), f"{cell}-{column}")
    return figure
