"""Which classes are taken for which others, as a matrix of shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from darts.plotting.style import new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WRITTEN = 20  # classes up to which each share is written into its square
_NAMED = 60  # and up to which the classes are named


def draw_confusion(counts: Tensor, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw how the samples of each class were classified, as percent of the class.

    Args:
        counts: samples, (classes, classes); a row is a true class, a column what was said.
        names: of the classes.
        title: heading.

    Raises:
        ValueError: if names and matrix differ in size.
    """
    from matplotlib import colormaps

    if counts.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} names for a matrix of {tuple(counts.shape)}")
    values = counts.detach().cpu().double()
    percent = (100 * values / values.sum(1, keepdim=True).clamp(min=1)).numpy()
    size = min(0.6 * len(names), 10.0)
    figure = new_figure(2.6 + size, 1.8 + size)
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap=colormaps["YlGnBu"], vmin=0, vmax=100)
    if len(names) <= _WRITTEN:
        for row, column in values.nonzero().tolist():
            value = percent[row, column]
            axes.text(
                *(column, row, f"{value:.1f}" if value < 99.95 else "100"),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value > 50 else "#222222",
            )
    if len(names) <= _NAMED:
        short = [shorten(name, 16) for name in names]
        axes.set_xticks(range(len(names)), short, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), short)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label("percent of the true class", fontsize=9)
    figure.suptitle(title, fontsize=12)
    return figure
