"""Pictures of a search: alphas as a heatmap and over time, losses and accuracies.

Figures are built without pyplot, so no display is needed and nothing is kept alive globally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from darts.plotting.style import (
    HIGHLIGHT,
    line_style,
    new_figure,
    render,
    save_figure,
    style_axes,
    integer_ticks,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_alpha_heatmap", "draw_alpha_history", "draw_metrics", "render", "save_figure"]


def draw_alpha_heatmap(
    probabilities: Tensor,
    *,
    operations: Sequence[str],
    title: str = "",
    edges: Sequence[str] | None = None,
    chosen: Sequence[tuple[int, int]] = (),
    vmax: float | None = None,
) -> Figure:
    """Draw mixing weights as a matrix of numbers, edges by operations.

    Args:
        probabilities: (edges, operations), each at least 0.
        operations: names of the columns.
        title: heading.
        edges: names of the rows; their numbers by default.
        chosen: (row, column) of the operations that the genotype keeps, to be outlined.
        vmax: the value shown darkest. By default the largest one, but no less than twice the
            uniform weight, so that a search that has just begun looks undecided. Set it to
            compare figures.

    Raises:
        ValueError: if names and matrix differ in size, or `chosen` lies outside the matrix.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    values = probabilities.detach().to("cpu").double().numpy()
    names = _row_names(values.shape, operations, edges)
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
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "#222222",
            )
    for row in range(1, rows):
        # A wide gap where the next node begins, a fine one between the edges of a node.
        new_node = _target(names[row]) != _target(names[row - 1])
        axes.axhline(row - 0.5, color="white", linewidth=3.0 if new_node else 0.6)
    for column in range(1, columns):
        axes.axvline(column - 0.5, color="white", linewidth=0.6)
    for row, column in chosen:
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(f"chosen ({row}, {column}) lies outside {rows} x {columns}")
        box = Rectangle(
            (column - 0.46, row - 0.44),
            0.92,
            0.88,
            fill=False,
            edgecolor=HIGHLIGHT,
            linewidth=2.2,
            zorder=3,
        )
        box.set_gid("chosen")
        axes.add_patch(box)
    axes.set_xticks(range(columns), operations, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(rows), names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("edge")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label("probability", fontsize=9)
    figure.suptitle(title, fontsize=12)
    return figure


def draw_alpha_history(
    history: Sequence[Tensor],
    *,
    operations: Sequence[str],
    title: str = "",
    edges: Sequence[str] | None = None,
    epochs: Sequence[int] | None = None,
) -> Figure:
    """Draw mixing weights over the epochs, one panel an edge, one line an operation.

    With edges named by source and target, a row of panels is a node and a column one of its inputs.

    Args:
        history: one (edges, operations) for each epoch.
        operations: names of the lines.
        title: heading.
        edges: names of the panels; their numbers by default.
        epochs: the epochs of the history; 1, 2, ... by default.

    Raises:
        ValueError: if the history is empty or its sizes do not fit the names.
    """
    import numpy as np

    if not history:
        raise ValueError("there is no history of alphas to draw")
    values = np.stack([p.detach().to("cpu").double().numpy() for p in history])  # (T, E, O)
    names = _row_names(values.shape[1:], operations, edges)
    epochs = list(range(1, len(history) + 1)) if epochs is None else list(epochs)
    if len(epochs) != len(history):
        raise ValueError(f"{len(epochs)} epochs for a history of {len(history)}")
    places = _places(names)
    rows, columns = (max(place[axis] for place in places) + 1 for axis in (0, 1))
    figure = new_figure(1.9 + 1.75 * columns, 1.0 + 1.45 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    top = float(values.max())
    for axes in grid.flat:
        axes.set_visible(False)
    for edge, (row, column) in enumerate(places):
        axes = grid[row, column]
        axes.set_visible(True)
        for index, operation in enumerate(operations):
            axes.plot(
                epochs,
                values[:, edge, index],
                **line_style(index, operation),
                # A single epoch makes no line, so it is shown as a point.
                marker="o" if len(epochs) == 1 else None,
                markersize=3,
            )
        axes.set_title(names[edge], fontsize=9, pad=3)
        axes.set_ylim(0, 1.05 * top if top > 0 else 1)
        style_axes(axes)
        below_is_empty = (row + 1, column) not in places
        axes.tick_params(labelleft=column == 0, labelbottom=below_is_empty)
        if below_is_empty:
            axes.set_xlabel("epoch", fontsize=8)
        integer_ticks(axes)
    lines = grid[places[0]].get_lines()
    figure.legend(lines, operations, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=12)
    return figure


def draw_metrics(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], *, x: str = "epoch", title: str = ""
) -> Figure:
    """Draw columns of a metrics file over the epochs, quantities of a kind in one panel.

    The kind is the last word of the key: `train_loss` and `valid_loss` share a panel, and
    accuracies another one, in percent.

    Args:
        rows: as read by `darts.tracking.read_metrics`; rows without a value are passed over.
        keys: the columns to draw.
        x: the column for the horizontal axis; the number of the row where it is missing.
        title: heading.

    Raises:
        ValueError: if `keys` is empty or names a column that no row has.
    """
    known = list(dict.fromkeys(key for row in rows for key in row))
    for key in keys:
        if key not in known:
            raise ValueError(f"no row has {key!r}; choose from: {', '.join(known) or 'none'}")
    panels: dict[str, list[str]] = {}
    for key in keys:
        panels.setdefault(key.split("/")[-1].split("_")[-1], []).append(key)
    if not panels:
        raise ValueError(f"keys is empty; choose from: {', '.join(known) or 'none'}")
    figure = new_figure(0.4 + 4.4 * len(panels), 3.3)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (kind, members) in zip(grid, panels.items(), strict=True):
        percent = kind in ("accuracy", "f1", "top1", "top5")
        for index, key in enumerate(members):
            points = [
                (row.get(x, number), row[key] * (100 if percent else 1))
                for number, row in enumerate(rows, start=1)
                if row.get(key) is not None
            ]
            style = line_style(index, key)
            axes.plot(*zip(*points, strict=True), **style) if points else axes.plot([], **style)
            if len(points) == 1:
                axes.get_lines()[-1].set_marker("o")
        axes.set_xlabel(x)
        axes.set_ylabel(f"{kind}, %" if percent else kind)
        axes.legend(frameon=False, fontsize=9)
        style_axes(axes)
        integer_ticks(axes)
    figure.suptitle(title, fontsize=12)
    return figure


def _row_names(
    shape: tuple[int, ...], operations: Sequence[str], edges: Sequence[str] | None
) -> list[str]:
    if len(shape) != 2 or shape[1] != len(operations):
        raise ValueError(f"alphas of shape {shape} do not fit {len(operations)} operations")
    names = list(edges) if edges is not None else [f"edge {row}" for row in range(shape[0])]
    if len(names) != shape[0]:
        raise ValueError(f"alphas of shape {shape} do not fit {len(names)} edges")
    return names


def _target(edge: str) -> str:
    return edge.rpartition("→")[2] if "→" in edge else ""


def _places(names: Sequence[str]) -> list[tuple[int, int]]:
    """Row and column of each panel: node by input where nodes have several, else four a row."""
    pairs = [tuple(map(int, name.split("→"))) for name in names if "→" in name]
    if len(pairs) < len(names) or len({target for _, target in pairs}) == len(pairs) > 1:
        return [divmod(edge, 4) for edge in range(len(names))]
    first = min(target for _, target in pairs)
    return [(target - first, source) for source, target in pairs]
