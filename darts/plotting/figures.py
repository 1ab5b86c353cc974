"""Figures of a run: heatmap and history of the alphas, metrics over the epochs, confusion matrix.

The figures do not use pyplot, so they need no display and no global state.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor

from darts.escaping import for_figure
from darts.judging.pareto import has_number
from darts.plotting.style import (
    HIGHLIGHT,
    ArtistStyle,
    add_color_bar,
    add_title,
    integer_ticks,
    label_text,
    line_style,
    new_figure,
    shorten,
    style_axes,
    unzip,
    write_number,
)
from darts.reading import JsonObject
from darts.tracking.formats import is_fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points: TypeAlias = Sequence[tuple[float, float]]
"""``(x, y)`` of each point of a line."""

# With more classes than these, a confusion matrix shows no numbers, or no names of classes.
_MAX_CLASSES_WITH_NUMBERS, _MAX_CLASSES_WITH_NAMES = 20, 60


def draw_alpha_heatmap(
    probabilities: Tensor,
    *,
    operations: Sequence[str],
    title: str = "",
    edges: Sequence[str] | None = None,
    chosen: Sequence[tuple[int, int]] = (),
    vmax: float | None = None,
) -> Figure:
    """Draw the probabilities of a group as a matrix with colors and numbers.

    Args:
        probabilities: ``(edges, operations)``, each at least 0.
        operations: Names of the columns.
        title: Title of the figure.
        edges: Names of the rows. Default: "edge 0", "edge 1", ...
        chosen: ``(row, column)`` of the operations that the genotype keeps; they are outlined.
        vmax: Value with the darkest color. Set it to make figures comparable. Default: the largest
            probability, but at least twice the uniform probability, so that a search that has just
            begun looks undecided.

    Raises:
        ValueError: If the numbers of names do not match the shape, or ``chosen`` is outside of it.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    values = probabilities.detach().to("cpu").double().numpy()
    names = _edge_labels(values.shape, operations, edges)
    rows, columns = values.shape
    figure = new_figure(1.9 + 0.72 * columns, 1.5 + 0.34 * rows)
    axes = figure.add_subplot()
    darkest = max(float(values.max(initial=0.0)), 2 / columns) if vmax is None else vmax
    scale = Normalize(0.0, darkest, clip=True)
    colors = colormaps["YlGnBu"]
    image = axes.imshow(values, cmap=colors, norm=scale, aspect="auto")
    for row in range(rows):
        for column in range(columns):
            value = values[row, column]
            red, green, blue, _ = colors(scale(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55  # luma of ITU-R BT.601
            write_number(axes, row, column, f"{value:.2f}", dark=dark)
    _separate_entries(axes, names, columns)
    _outline_operations(axes, chosen, rows, columns)
    texts = [label_text(operation) for operation in operations]
    axes.set_xticks(range(columns), texts, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(rows), [label_text(name) for name in names])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("edge")
    add_color_bar(figure, image, axes, "probability")
    add_title(figure, title)
    return figure


def _separate_entries(axes: Axes, names: Sequence[str], columns: int) -> None:
    """Draw white lines between the entries of a matrix, wide ones where the target changes."""
    for row in range(1, len(names)):
        new_node = _target(names[row]) != _target(names[row - 1])
        axes.axhline(row - 0.5, color="white", linewidth=3.0 if new_node else 0.6)
    for column in range(1, columns):
        axes.axvline(column - 0.5, color="white", linewidth=0.6)


def _outline_operations(
    axes: Axes, chosen: Sequence[tuple[int, int]], rows: int, columns: int
) -> None:
    from matplotlib.patches import Rectangle

    for row, column in chosen:
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(
                f"chosen contains ({row}, {column}), outside {rows} rows and {columns} columns"
            )
        style: ArtistStyle = {"fill": False, "edgecolor": HIGHLIGHT, "linewidth": 2.2, "zorder": 3}
        gid = f"chosen-{row}-{column}"
        axes.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, gid=gid, **style))


def draw_alpha_history(
    history: Sequence[Tensor],
    *,
    operations: Sequence[str],
    title: str = "",
    edges: Sequence[str] | None = None,
    epochs: Sequence[int] | None = None,
    chosen: Collection[tuple[int, int]] = (),
) -> Figure:
    """Draw probabilities over the epochs, one panel per edge, one line per operation.

    If the edges have names such as "0→2", the panels of edges with the same target form a row,
    ordered by their sources. Otherwise, and for a chain, a row has four panels.

    Args:
        history: Probabilities of a group at each epoch, each ``(edges, operations)``.
        operations: Names of the lines.
        title: Title of the figure.
        edges: Names of the panels. Default: "edge 0", "edge 1", ...
        epochs: Numbers of the epochs. Default: 1, 2, ...
        chosen: ``(edge, operation)`` of the operations that the genotype keeps; they are thick.

    Raises:
        ValueError: If the history is empty, or the numbers of names or epochs do not match it.
    """
    import numpy as np

    if not history:
        raise ValueError("there is no history of alphas to draw")
    values = np.stack([p.detach().to("cpu").double().numpy() for p in history])  # (T, E, O)
    names = _edge_labels(values.shape[1:], operations, edges)
    epochs = list(range(1, len(history) + 1)) if epochs is None else list(epochs)
    if len(epochs) != len(history):
        raise ValueError(f"{len(epochs)} numbers of epochs for a history of {len(history)} epochs")
    positions = _panel_positions(names)
    rows = max(row for row, _ in positions) + 1
    columns = max(column for _, column in positions) + 1
    height = max(1.0 + 1.45 * rows, _legend_height(len(operations)))
    figure = new_figure(1.9 + 1.75 * columns, height)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    top = float(values.max())
    marker = "o" if len(epochs) == 1 else None  # since one epoch gives no line
    for axes in grid.flat:
        axes.set_visible(False)
    for edge, (row, column) in enumerate(positions):
        axes = grid[row, column]
        axes.set_visible(True)
        for index, operation in enumerate(operations):
            style = line_style(index, operation)
            if (edge, index) in chosen:
                style |= {"linewidth": 3.0, "zorder": 3}
            axes.plot(epochs, values[:, edge, index], marker=marker, markersize=3, **style)
        axes.set_title(label_text(names[edge]), fontsize=9, pad=3)
        axes.set_ylim(0, 1.05 * top if top > 0 else 1)
        style_axes(axes)
        lowest = (row + 1, column) not in positions
        axes.tick_params(labelleft=column == 0, labelbottom=lowest)
        if lowest:
            axes.set_xlabel("epoch", fontsize=8)
        integer_ticks(axes)
    lines = grid[positions[0]].get_lines()
    texts = [label_text(operation) for operation in operations]
    figure.legend(lines, texts, loc="outside right upper", fontsize=8, frameon=False)
    add_title(figure, title)
    return figure


def draw_curves(
    panels: Mapping[str, Mapping[str, Points]],
    *,
    x: str = "epoch",
    dots: bool = False,
    title: str = "",
) -> Figure:
    """Draw panels of lines next to each other; several lines have a legend.

    Args:
        panels: By quantity, the points of each line by name. Fractions, such as accuracies, are in
            percent.
        x: Name of the horizontal axis, whose values are integers.
        dots: Whether to draw the points without lines between them.
        title: Title of the figure.

    Raises:
        ValueError: If there are no panels.
    """
    height = max(2.6, _legend_height(max(map(len, panels.values()), default=0)))
    figure = new_figure(0.4 + 4.4 * len(panels), height)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (quantity, lines) in zip(grid, panels.items(), strict=True):
        scale, unit = (100, ", %") if is_fraction(quantity) else (1, "")
        for index, (name, points) in enumerate(lines.items()):
            style = line_style(index, shorten(name))
            if dots or len(points) == 1:  # since one point gives no line
                style |= {"marker": "o", "markersize": 3.5, "linestyle": ""}
            xs, ys = unzip(points)
            axes.plot(xs, [scale * y for y in ys], **style)
        axes.set_title(label_text(quantity, 80) + unit, fontsize=10, loc="left")
        axes.set_xlabel(for_figure(x), fontsize=9)
        style_axes(axes)
        integer_ticks(axes)
        if len(lines) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    add_title(figure, title)
    return figure


def points_of(rows: Iterable[JsonObject], name: str, x: str = "epoch") -> Points:
    """Return the values of two columns of a table, in the rows that have numbers for both."""
    return [(row[x], row[name]) for row in rows if has_number(row, x) and has_number(row, name)]


def _legend_height(entries: int) -> float:
    """Return the height, in inches, of a figure with a legend of many entries next to its axes."""
    return 0.6 + 0.17 * entries


def draw_confusion(counts: Tensor, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw which percentage of the samples of each true class is predicted as each class.

    Args:
        counts: Numbers of samples, ``(true classes, predicted classes)``.
        names: Names of the classes.
        title: Title of the figure.

    Raises:
        ValueError: If the number of names does not match the shape.
    """
    from matplotlib import colormaps

    if counts.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} names for a matrix of shape {tuple(counts.shape)}")
    values = counts.detach().cpu().double()
    percent = (100 * values / values.sum(1, keepdim=True).clamp(min=1)).numpy()
    size = min(0.6 * len(names), 10.0)
    figure = new_figure(2.6 + size, 1.8 + size)
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap=colormaps["YlGnBu"], vmin=0, vmax=100)
    if len(names) <= _MAX_CLASSES_WITH_NUMBERS:
        for row, column in values.nonzero().tolist():
            value = percent[row, column]
            text = f"{value:.1f}" if value < 99.95 else "100"
            write_number(axes, row, column, text, dark=bool(value > 50))
    if len(names) <= _MAX_CLASSES_WITH_NAMES:
        short_names = [label_text(name, 16) for name in names]
        slanted: ArtistStyle = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(names)), short_names, **slanted)
        axes.set_yticks(range(len(names)), short_names)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    add_color_bar(figure, image, axes, "percent of the true class")
    add_title(figure, title)
    return figure


def _edge_labels(
    shape: tuple[int, ...], operations: Sequence[str], edges: Sequence[str] | None
) -> list[str]:
    """Return the names of the edges, or numbered ones if there are none; check the shape."""
    if len(shape) != 2 or shape[1] != len(operations):
        raise ValueError(f"alphas of shape {shape} do not match {len(operations)} operations")
    names = list(edges) if edges is not None else [f"edge {row}" for row in range(shape[0])]
    if len(names) != shape[0]:
        raise ValueError(f"alphas of shape {shape} do not match {len(names)} edges")
    return names


def _target(edge: str) -> str:
    """Return the target in the name of an edge, for example "2" of "0→2", or nothing."""
    return edge.rpartition("→")[2] if "→" in edge else ""


def _panel_positions(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return row and column of each panel: target and source, or four per row for a chain."""
    ends = [re.fullmatch(r"(\d{1,3})→(\d{1,3})", name) for name in names]
    edges = [(int(match[1]), int(match[2])) for match in ends if match]
    nodes = {target for _, target in edges}
    first = min(nodes, default=0)
    positions = [(target - first, source) for source, target in edges]
    distinct = {(row, column) for row, column in positions if max(row, column) <= len(names)}
    if len(distinct) < len(names) or len(nodes) == len(edges) > 1:  # other names, or a chain
        return [divmod(edge, 4) for edge in range(len(names))]
    return positions
