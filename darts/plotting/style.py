"""What all figures share: canvas, colors, axes, and how a figure becomes a file."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darts.tracking.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, told apart by color-blind readers too; `none` is gray, as it is absent.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#222222", "#5B3A8E")
_GREY = "#8A8A8A"
HIGHLIGHT = "#D55E00"
PRIMARY = "#0072B2"
MUTED = "#9AA5B1"

_UNDATED: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
}


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure with an Agg canvas; width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def line_style(index: int, label: str) -> dict[str, Any]:
    """Color and dash of line number `index`; `none` is gray and dashed."""
    if label == "none":
        return {"label": label, "color": _GREY, "linestyle": "--", "linewidth": 1.2}
    # Beyond eight lines the colors come again with another dash.
    dash = ("-", "-.", ":")[index // len(_COLOURS) % 3]
    color = _COLOURS[index % len(_COLOURS)]
    return {"label": label, "color": color, "linestyle": dash, "linewidth": 1.5}


def shorten(name: str, most: int = 30) -> str:
    """A name of at most so many characters: its middle is left out, for both ends tell most."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[len(name) - tail :]}"


def unzip(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """All first and all second numbers, of no pairs too."""
    return [x for x, _ in pairs], [y for _, y in pairs]


def style_axes(axes: Axes) -> None:
    """A light grid, and no frame above and to the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def integer_ticks(axes: Axes) -> None:
    """Whole numbers on the horizontal axis, since there is no epoch 2.5."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def log_ticks(axes: Axes) -> None:
    """A logarithmic horizontal axis with few ticks, written as plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    few = high < 100 * low  # less than two powers of ten in sight
    subs = (1.0, 2.0, 5.0) if few else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def outlier_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Bounds beyond which a value would press all others together on an axis."""
    import numpy as np

    low, high = np.quantile(values, (0.25, 0.75))
    return float(low - 3 * (high - low)), float(high + 3 * (high - low))


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> None:
    """Write a figure in the format that the file's ending names, replacing the file in one step.

    Equal figures give equal files: neither dates nor random identifiers go in. SVG keeps its text
    as text. A missing folder is made.

    Raises:
        ValueError: the name does not end in ``.svg``, ``.png`` or ``.pdf``.
    """
    write_atomically(path, render(figure, file_format(path), dpi=dpi))


def render(figure: Figure, kind: str, *, dpi: int = 150) -> bytes:
    """A figure as the content of a file of the kind ``svg``, ``png`` or ``pdf``."""
    import matplotlib

    buffer = io.BytesIO()
    with (
        matplotlib.rc_context({"svg.hashsalt": "darts-nas", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # A title in a script that the font lacks is drawn with boxes; no reason to fail.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=_UNDATED[kind])
    return buffer.getvalue()


def file_format(path: str | os.PathLike[str]) -> str:
    """The format that a file's ending names.

    Raises:
        ValueError: the name does not end in ``.svg``, ``.png`` or ``.pdf``.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in _UNDATED:
        raise ValueError(
            f"cannot draw to {os.fspath(path)!r}: the file must end in "
            f"{', '.join('.' + name for name in _UNDATED)}"
        )
    return kind
