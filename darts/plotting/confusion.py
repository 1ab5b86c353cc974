"""Confusion matrix of a classifier, in percent of each true class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from darts.plotting.style import new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_NUMBERED = 20  # classes up to which each cell of the matrix shows its number
_MAX_NAMED = 60  # classes up to which the axes show the names of the classes


def draw_confusion(counts: Tensor, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw how the samples of each class are classified, in percent of the class.

    Args:
        counts: Numbers of samples, ``(classes, classes)``; rows are true classes, columns are
            predicted classes.
        names: Names of the classes.
        title: Title of the figure.

    Raises:
        ValueError: If the number of names does not match the matrix.
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
    if len(names) <= _MAX_NUMBERED:
        for row, column in values.nonzero().tolist():
            value = percent[row, column]
            axes.text(
                column,
                row,
                f"{value:.1f}" if value < 99.95 else "100",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value > 50 else "#222222",
            )
    if len(names) <= _MAX_NAMED:
        short = [shorten(name, 16) for name in names]
        axes.set_xticks(range(len(names)), short, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), short)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label("percent of the true class", fontsize=9)
    figure.suptitle(title, fontsize=12)
    return figure
