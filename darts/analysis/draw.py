"""Pictures of a genotype, drawn with matplotlib alone.

A figure shows one genotype, or two side by side, each with its normal cell above its reduction
cell; ``darts.analysis.cell_picture`` lays out the single cell.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from darts.analysis.cell_picture import INK, MARGIN, Shared, cell_height, cell_width, draw_cell
from darts.spaces.genotype import CELLS, Genotype

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: tuple[str, ...] = (".svg", ".png", ".pdf")


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
    _format_of(Path(path))
    save_figure(draw_genotype(genotype, title=title), path)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format that the file's ending names, replacing the file in one step.

    SVG keeps its text as text, and neither SVG nor PDF says when it was made. A missing folder is
    made.

    Raises:
        ValueError: the name does not end in ``.svg``, ``.png`` or ``.pdf``.
    """
    import matplotlib

    path = Path(path)
    kind = _format_of(path)
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with (
            matplotlib.rc_context({"svg.hashsalt": "darts", "svg.fonttype": "none"}),
            warnings.catch_warnings(),
        ):
            # A title in a script that the font lacks is drawn with boxes; no reason to fail.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(temporary, format=kind, dpi=160, metadata=undated)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _format_of(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(
            f"cannot draw into {str(path)!r}: the name must end in {', '.join(FORMATS)}"
        )
    return ending[1:]


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
