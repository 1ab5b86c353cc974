"""Style shared by all figures: canvas, colors, axes; and how figures are written to files."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from darts.tracking.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

ArtistStyle: TypeAlias = dict[str, Any]
"""Keyword arguments of matplotlib's drawing functions."""

# The colors of Okabe and Ito, which color-blind readers can distinguish; `none` is gray.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#222222", "#5B3A8E")
_GRAY = "#8A8A8A"
HIGHLIGHT = "#D55E00"
PRIMARY = "#0072B2"
MUTED = "#9AA5B1"

_METADATA: dict[str, dict[str, None]] = {  # removes dates, so that equal figures give equal files
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure with an Agg canvas; width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def line_style(index: int, label: str) -> ArtistStyle:
    """Return label, color and dashes of line number `index`; `none` is gray and dashed."""
    if label == "none":
        return {"label": label, "color": _GRAY, "linestyle": "--", "linewidth": 1.2}
    # After eight lines the colors repeat with other dashes.
    dash = ("-", "-.", ":")[index // len(_COLORS) % 3]
    color = _COLORS[index % len(_COLORS)]
    return {"label": label, "color": color, "linestyle": dash, "linewidth": 1.5}


def shorten(name: str, max_length: int = 30) -> str:
    """Shorten a name to at most `max_length` characters by an ellipsis in its middle."""
    if len(name) <= max_length:
        return name
    tail = (max_length - 1) // 2
    return f"{name[: max_length - 1 - tail]}…{name[len(name) - tail :]}"


def unzip(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the first and the second numbers of pairs; two empty lists without pairs."""
    return [x for x, _ in pairs], [y for _, y in pairs]


def style_axes(axes: Axes) -> None:
    """Draw a light grid, and no frame at the top and right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def add_color_bar(
    figure: Figure, image: AxesImage, axes: Axes | NDArray[np.object_], label: str, **size: float
) -> None:
    """Add a color bar without frame next to matrices."""
    options: ArtistStyle = {"fraction": 0.04, **size}
    bar = figure.colorbar(image, ax=axes, pad=0.02, **options)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label(label, fontsize=9)


def write_number(axes: Axes, row: int, column: int, text: str, *, dark: bool) -> None:
    """Write a number into a cell of a matrix, in white if the cell is dark."""
    color = "white" if dark else "#222222"
    axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)


def add_title(figure: Figure, title: str, *, legend: bool = True) -> None:
    """Add a title, and a legend at its right."""
    if legend:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=12)


def integer_ticks(axes: Axes) -> None:
    """Use integer ticks on the horizontal axis, since there is no epoch 2.5."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def log_ticks(axes: Axes) -> None:
    """Use a logarithmic horizontal axis with few ticks, formatted as plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    narrow = high < 100 * low  # less than two decades
    subs = (1.0, 2.0, 5.0) if narrow else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def outlier_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return bounds three interquartile ranges away from the quartiles.

    A value outside of them would compress all others on an axis.
    """
    import numpy as np

    low, high = np.quantile(values, (0.25, 0.75))
    return float(low - 3 * (high - low)), float(high + 3 * (high - low))


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> None:
    """Write a figure atomically, in the format given by the suffix of `path`.

    Equal figures give equal files, since dates and random identifiers are left out.
    """
    write_atomically(path, render(figure, file_format(path), dpi=dpi))


def render(figure: Figure, file_format: str, *, dpi: int = 150) -> bytes:
    """Return the content of a file of format ``svg``, ``png`` or ``pdf`` that shows a figure."""
    import matplotlib

    buffer = io.BytesIO()
    with (
        matplotlib.rc_context({"svg.hashsalt": "darts-nas", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # Titles may use scripts that the font lacks; matplotlib draws boxes for them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=_METADATA[file_format])
    return buffer.getvalue()


def file_format(path: str | os.PathLike[str]) -> str:
    """Return the format given by the suffix of a file name, or raise ``ValueError``."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in _METADATA:
        suffixes = ", ".join(f".{name}" for name in _METADATA)
        raise ValueError(f"cannot draw to {str(path)!r}: the file name must end in {suffixes}")
    return suffix
