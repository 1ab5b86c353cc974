"""Style of all figures (canvas, colors, lines, axes), and functions that write them to files."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from darts.escaping import for_figure
from darts.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Keyword arguments of matplotlib's drawing functions.
ArtistStyle: TypeAlias = dict[str, Any]

# Colors that color-blind readers can distinguish: six of Okabe and Ito ("Color Universal Design",
# 2008), near black, and purple.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#222222", "#5B3A8E")
_GRAY = "#8A8A8A"  # of the operation `none`
HIGHLIGHT = "#D55E00"  # what readers should notice first
PRIMARY = "#0072B2"  # the main data
MUTED = "#9AA5B1"  # data in the background
NOTE = "#555555"  # small text, and data with a label in the background
MAX_TITLE = 120  # characters

# The supported file formats, each with the metadata to leave out, so that equal figures give equal
# files.
_METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
}


def new_figure(width: float, height: float, title: str | None = None, size: int = 12) -> Figure:
    """Return an empty white figure; width and height in inches.

    A title is above it, in a font of ``size`` points. An empty title takes space, None does not.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    if title is not None:
        figure.suptitle(label_text(title, MAX_TITLE), fontsize=size)
    return figure


def line_style(index: int, label: str) -> ArtistStyle:
    """Return label, color, dashes and width of line number ``index``; ``none`` is gray, dashed."""
    if label == "none":
        return {"label": label, "color": _GRAY, "linestyle": "--", "linewidth": 1.2}
    # After eight lines the colors repeat with different dashes.
    dash = ("-", "-.", ":")[index // len(_COLORS) % 3]
    color = _COLORS[index % len(_COLORS)]
    return {"label": for_figure(label), "color": color, "linestyle": dash, "linewidth": 1.5}


def shorten(name: str, max_length: int = 30) -> str:
    """Shorten a name to at most ``max_length`` characters; an ellipsis replaces its middle."""
    if len(name) <= max_length:
        return name
    tail = (max_length - 1) // 2
    return f"{name[: max_length - 1 - tail]}…{name[len(name) - tail :]}"


def label_text(name: str, max_length: int = 30) -> str:
    """Return a name as text of a figure: escaped, and shortened by ``shorten``."""
    return for_figure(shorten(name, max_length))


def style_axes(axes: Axes) -> None:
    """Add a light grid to axes, and remove the frame at the top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def add_legend(figure: Figure) -> None:
    """Add a legend of all labeled lines and markers on the right side of the figure."""
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)


def integer_ticks(axes: Axes) -> None:
    """Use integer ticks on the horizontal axis, because epochs and trials are integers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure atomically, in the format that the suffix of ``path`` names.

    Equal figures give equal files, because they contain no dates and no random ids.
    """
    write_atomically(path, render_figure(figure, figure_format(path)))


def figure_format(path: str | os.PathLike[str]) -> str:
    """Return the format that the suffix of a path names; raise ValueError for another suffix."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in _METADATA:
        suffixes = ", ".join(f".{name}" for name in _METADATA)
        raise ValueError(f"cannot draw to {str(path)!r}: the file name must end in {suffixes}")
    return suffix


def render_figure(figure: Figure, file_format: str) -> bytes:
    """Return a figure as the content of a file of format ``svg``, ``png`` or ``pdf``."""
    import matplotlib

    buffer = io.BytesIO()
    with (
        matplotlib.rc_context({"svg.hashsalt": "darts-nas", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # For characters that the font lacks, matplotlib draws boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format=file_format, dpi=150, metadata=_METADATA[file_format])
    return buffer.getvalue()
