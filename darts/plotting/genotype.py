"""Figures of one genotype, or of two side by side, with the cells from top to bottom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from darts.plotting.cell import cell_size, draw_cell
from darts.plotting.shapes import (
    BOX_WIDTH,
    HEADING,
    INK,
    MARGIN,
    QUIET,
    STATE_WIDTH,
    CellCanvas,
    EdgeStyle,
    Point,
)
from darts.plotting.style import MAX_TITLE, ArtistStyle, label_text, save_figure
from darts.spaces import AnyGenotype
from darts.spaces.describe import is_chain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE, _GAP = 0.78, 0.36  # of a chain: height of a line; gap between boxes
_BOXES_PER_LINE = 4


class _Drawing(NamedTuple):
    """A genotype to draw, with a style of each edge by cell."""

    genotype: AnyGenotype
    title: str | None
    styles: Mapping[str, Sequence[EdgeStyle]]
    other: AnyGenotype  # the one that it is compared with, or itself


def draw_genotype(genotype: AnyGenotype, *, title: str | None = None) -> Figure:
    """Draw all cells of a genotype of any space.

    Colors distinguish the families of operations: pooling, skip connection, separable, dilated and
    other convolutions, none; kernel sizes of inverted residual blocks; attention; and activations.
    """
    return _draw(_Drawing(genotype, title, _family_styles(genotype), genotype))


def compare_genotypes(a: AnyGenotype, b: AnyGenotype, names: tuple[str, str]) -> Figure:
    """Draw two genotypes of a space side by side. Common edges are faint, the others stand out.

    As in ``darts.spaces.describe.difference``, the order of a node's edges does not matter. The
    names are the titles of the two genotypes.
    """
    sides = zip((a, b), (b, a), names, strict=True)
    return _draw(
        *(_Drawing(g, name, _compared_styles(g, other), other) for g, other, name in sides)
    )


def _family_styles(genotype: AnyGenotype) -> dict[str, list[EdgeStyle]]:
    return {
        cell: [EdgeStyle.for_operation(operation) for _, _, operation in genotype.edges(cell)]
        for cell in genotype.cells
    }


def _compared_styles(genotype: AnyGenotype, other: AnyGenotype) -> dict[str, list[EdgeStyle]]:
    styles = _family_styles(genotype)
    for cell, own in styles.items():
        edges = genotype.edges(cell)
        # Equal parallel edges are common as often as both cells have them.
        common = Counter(edges) & Counter(other.edges(cell))
        for index, edge in enumerate(edges):
            own[index] = own[index].compared(is_common=common[edge] > 0)
            common[edge] -= 1
    return styles


def save_genotype(genotype: AnyGenotype, path: str | Path, title: str | None = None) -> None:
    """Draw a genotype to a file. Equal genotypes and titles give equal files."""
    save_figure(draw_genotype(genotype, title=title), path)


def _draw(*drawings: _Drawing) -> Figure:
    """Draw genotypes of one space side by side, each below its title, if it has one."""
    from matplotlib.figure import Figure

    # The unit of the axes is an inch, as CellCanvas requires.
    cells, count = drawings[0].genotype.cells, len(drawings)
    sizes = [
        {c: _drawing_functions(d.genotype, c)[0](d.genotype, c) for c in cells} for d in drawings
    ]
    width = max(size[cell][0] for size in sizes for cell in cells)
    heights = {cell: max(size[cell][1] for size in sizes) for cell in cells}
    banner = 0.5 if drawings[0].title else 0.1
    total = sum(heights.values()) + banner
    figure = Figure(figsize=(width * count, total), facecolor="white")
    title_style: ArtistStyle = {"size": 15, "weight": "bold", "color": INK, "va": "center"}
    for column, (genotype, title, styles, other) in enumerate(drawings):
        if title:
            x = (column * width + MARGIN) / (width * count)
            figure.text(x, 1 - 0.3 / total, label_text(title, MAX_TITLE), **title_style)
        top = total - banner
        for cell in cells:
            top -= heights[cell]
            axes = figure.add_axes((column / count, top / total, 1 / count, heights[cell] / total))
            axes.set_axis_off()
            axes.set(xlim=(0, width), ylim=(-heights[cell], 0))
            marked = {*genotype.concat(cell)} - {*other.concat(cell)}
            canvas = CellCanvas(axes, genotype, cell, styles[cell], marked, f"{cell}-{column}")
            _drawing_functions(genotype, cell)[1](canvas)
    return figure


def _drawing_functions(
    genotype: AnyGenotype, cell: str
) -> tuple[Callable[[AnyGenotype, str], tuple[float, float]], Callable[[CellCanvas], None]]:
    """Return the functions that compute the size of the drawing of a cell, and that draw it."""
    is_line = is_chain(genotype, cell) and not getattr(genotype, "recurs", False)
    return (_chain_size, _draw_chain) if is_line else (cell_size, draw_cell)


def _chain_size(genotype: AnyGenotype, cell: str) -> tuple[float, float]:
    boxes = genotype.nodes(cell)
    columns = min(boxes, _BOXES_PER_LINE)
    width = 2 * (MARGIN + STATE_WIDTH) + columns * (BOX_WIDTH + _GAP) + _GAP
    return width, HEADING + math.ceil(boxes / _BOXES_PER_LINE) * _LINE + MARGIN / 2


def _draw_chain(canvas: CellCanvas) -> None:
    """Draw a chain of operations in lines like text, each on the result of the previous one."""
    canvas.heading()
    left = MARGIN + STATE_WIDTH
    first = -HEADING - _LINE / 2
    canvas.state_box(MARGIN, first, "input")
    end = (left, first)  # start of the arrow to the next operation
    edges = zip(canvas.genotype.edges(canvas.cell), canvas.styles, strict=True)
    for index, ((_, number, operation), style) in enumerate(edges):
        line, column = divmod(index, _BOXES_PER_LINE)
        x, y = left + _GAP + column * (BOX_WIDTH + _GAP), first - line * _LINE
        _draw_connection(canvas, end, (x, y), f"{canvas.gid}-edge-{index}-curve")
        canvas.operation_box((x, y), operation, style, f"{canvas.gid}-edge-{index}-box")
        canvas.label(x + BOX_WIDTH / 2, y + 0.22, str(number), 7.5, color=QUIET)
        end = (x + BOX_WIDTH, y)
    canvas.arrow([end, (end[0] + _GAP, end[1])])
    canvas.state_box(end[0] + _GAP, end[1], "output")


def _draw_connection(canvas: CellCanvas, start: Point, end: Point, gid: str) -> None:
    """Draw the arrow to the next operation; at a line break it returns between the two lines."""
    (x0, y0), (x1, y1) = start, end
    points = [(x0, y0), (x1 - 0.1, y1)]
    if y0 != y1:
        middle, right, left = (y0 + y1) / 2, x0 + _GAP / 2, x1 - 0.6 * _GAP
        points[1:1] = [(right, y0), (right, middle), (left, middle), (left, y1)]
    codes = "M" + "L" * (len(points) - 1)
    canvas.path(points, codes, gid=gid, edgecolor=INK, linewidth=1.4)
    canvas.arrow([(x1 - 0.12, y1), (x1, y1)])
