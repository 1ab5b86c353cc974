"""Animation of the alphas of a search: a GIF whose frames show the probabilities after each epoch.

Each group has a matrix, edges by operations. Everything else is drawn once: a frame redraws only
the matrices and the number of the epoch. An animation therefore takes about a second.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from darts.escaping import for_figure
from darts.plotting.style import (
    HIGHLIGHT,
    ArtistStyle,
    add_color_bar,
    missing_glyphs_allowed,
    new_figure,
)
from darts.searching.alphas import GroupHistory, column_names

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from PIL.Image import Image

MAX_FRAMES = 60
"""Default maximum number of frames."""

TOTAL_MS, MIN_FRAME_MS, MAX_FRAME_MS, LAST_FRAME_MS = 6000, 60, 400, 2500
"""Durations in milliseconds. A frame takes ``TOTAL_MS`` divided by the number of frames, within the
bounds; the last one takes ``LAST_FRAME_MS``."""

# Matrices per row. If one has more than `_MAX_COLUMNS` columns, each has a row to itself.
_MATRICES_PER_ROW, _MAX_COLUMNS = 2, 10
_DPI = 100


class _Matrix(NamedTuple):
    """The matrix of a group as an image, and the grid and outlines that are drawn over it."""

    axes: Axes
    image: AxesImage
    overlay: list[Artist]


ChosenOperations = Mapping[str, Collection[tuple[int, int]]]
"""By group, the ``(row, column)`` of each operation that a genotype keeps."""


def animate_alphas(
    histories: Mapping[str, GroupHistory],
    *,
    chosen: ChosenOperations | None = None,
    max_frames: int = MAX_FRAMES,
) -> bytes:
    """Return a GIF of the probabilities over the epochs, which repeats forever.

    All frames and groups share one color scale. The lightest color is 0. The darkest color is the
    largest probability, but at least twice the uniform probability.

    Args:
        histories: History of each group.
        chosen: Operations that the genotype keeps; they are outlined.
        max_frames: Maximum number of frames, at least 2. If there are more epochs, the frames show
            evenly spaced epochs, including the first and the last.

    Raises:
        ValueError: If there are no epochs, or ``max_frames`` is less than 2.
    """
    count = max((len(history["epochs"]) for history in histories.values()), default=0)
    if not count:
        raise ValueError("there are no alphas to animate")
    if max_frames < 2:
        raise ValueError(f"max_frames={max_frames}: must be at least 2")
    epochs = sample_epochs(count, max_frames)
    with missing_glyphs_allowed():
        frames = _frames(histories, chosen or {}, epochs)
    # GIF stores durations in hundredths of a second.
    duration = 10 * round(min(max(TOTAL_MS / len(epochs), MIN_FRAME_MS), MAX_FRAME_MS) / 10)
    buffer = io.BytesIO()
    durations = [duration] * (len(epochs) - 1) + [LAST_FRAME_MS]
    options = {"save_all": True, "append_images": frames[1:], "duration": durations}
    frames[0].save(buffer, format="GIF", loop=0, **options)  # loop=0 repeats forever
    return buffer.getvalue()


def sample_epochs(count: int, max_epochs: int) -> list[int]:
    """Return up to ``max_epochs`` evenly spaced epochs from 0 to ``count - 1``, both included."""
    if count <= max_epochs:
        return list(range(count))
    return [round(number * (count - 1) / (max_epochs - 1)) for number in range(max_epochs)]


def _frames(
    histories: Mapping[str, GroupHistory], chosen: ChosenOperations, epochs: Sequence[int]
) -> list[Image]:
    """Return one image per epoch; all images share one palette. Epochs count from 0."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, matrices = _static_figure(histories, chosen)
    figure.set_dpi(_DPI)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    # Drawing computes the layout. Each frame is drawn over a copy of the static content.
    canvas.draw()  # type: ignore[no-untyped-call]
    background = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]
    palette = _palette()
    frames = []
    last = max(len(history["epochs"]) for history in histories.values())
    for epoch in epochs:
        canvas.restore_region(background)  # type: ignore[no-untyped-call]
        for name, matrix in matrices.items():
            matrix.image.set_data(histories[name]["epochs"][epoch])
            for artist in (matrix.image, *matrix.overlay):
                matrix.axes.draw_artist(artist)
        heading = figure.texts[-1]
        heading.set_text(f"epoch {epoch + 1} of {last}")
        figure.draw_artist(heading)
        rgba = np.asarray(canvas.buffer_rgba()).copy()  # type: ignore[no-untyped-call]
        # The pixels are (H, W, 4), uint8. Seen as one uint32 per pixel, they have N distinct
        # colors; each is replaced by the nearest color of the palette.
        used, index = np.unique(rgba.view(np.uint32)[..., 0], return_inverse=True)
        colors = used.view(np.uint8).reshape(-1, 1, 4)[..., :3].astype(int)
        distance = ((colors - palette) ** 2).sum(-1)  # (N, 256)
        nearest = distance.argmin(-1).astype(np.uint8)
        frame = Image.fromarray(nearest[index].reshape(rgba.shape[:2]))
        frame.putpalette(palette.astype(np.uint8).tobytes())
        frames.append(frame)
    return frames


def _static_figure(
    histories: Mapping[str, GroupHistory], chosen: ChosenOperations
) -> tuple[Figure, dict[str, _Matrix]]:
    """Return the figure without its animated content, and the animated matrix of each group."""
    names = list(histories)
    columns = {name: column_names(histories[name]["operations"]) for name in names}
    widest = max(map(len, columns.values()))
    per_row = min(_MATRICES_PER_ROW, len(names)) if widest <= _MAX_COLUMNS else 1
    rows = math.ceil(len(names) / per_row)
    most_edges = max(len(histories[name]["edges"]) for name in names)
    figure = new_figure(
        0.9 + per_row * (0.8 + 0.3 * widest), 0.4 + rows * (1.3 + min(0.23 * most_edges, 9.0))
    )
    largest = max(float(np.max(history["epochs"])) for history in histories.values())
    # At least twice the uniform probability: a search that has just begun must look undecided.
    darkest = max(largest, *(2 / len(columns[name]) for name in names))
    grid = figure.subplots(rows, per_row, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    matrices = {
        name: _matrix(axes, name, histories[name], columns[name], chosen.get(name, ()), darkest)
        for axes, name in zip(grid.flat, names, strict=False)
    }
    image = matrices[names[0]].image
    add_color_bar(figure, image, grid, "probability", fraction=0.03, aspect=30)
    # The constrained layout reserves space for a title; the animated heading is drawn there.
    figure.suptitle(" ", fontsize=12)
    figure.text(0.5, 0.985, "", fontsize=12, ha="center", va="top", animated=True)
    return figure, matrices


def _matrix(
    axes: Axes,
    name: str,
    history: GroupHistory,
    operations: Sequence[str],
    chosen: Collection[tuple[int, int]],
    darkest: float,
) -> _Matrix:
    """Add the matrix of a group to its axes; ``darkest`` is the value with the darkest color."""
    from matplotlib.patches import Rectangle

    edges, first = history["edges"], history["epochs"][0]
    image = axes.imshow(first, cmap="YlGnBu", vmin=0.0, vmax=darkest, aspect="auto", animated=True)
    overlay: list[Artist] = [
        *(axes.axhline(row - 0.5, color="white", linewidth=0.8) for row in range(len(edges))),
        *(axes.axvline(c - 0.5, color="white", linewidth=0.8) for c in range(len(operations))),
    ]
    outline: ArtistStyle = {"fill": False, "edgecolor": HIGHLIGHT, "linewidth": 1.8}
    for row, column in sorted(chosen):
        box = Rectangle((column - 0.45, row - 0.42), 0.9, 0.84, **outline)
        overlay.append(axes.add_patch(box))
    for artist in overlay:
        artist.set_animated(True)
    slanted: ArtistStyle = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(operations)), [for_figure(name) for name in operations], **slanted)
    axes.set_yticks(range(len(edges)), [for_figure(edge) for edge in edges])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_title(for_figure(name), fontsize=11, loc="left")
    return _Matrix(axes, image, overlay)


def _palette() -> NDArray[np.int_]:
    """Return the 256 colors of an animation as RGB values from 0 to 255, ``(256, 3)``.

    They are the colors of the matrices, grays for text, and blends of the outline's color with
    white. A GIF has at most 256 colors.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    shades = colormaps["YlGnBu"](np.linspace(0.0, 1.0, 191))[:, :3]
    grays = np.repeat(np.linspace(0.0, 1.0, 48)[:, None], 3, axis=1)
    outline = np.linspace(to_rgb(HIGHLIGHT), (1.0, 1.0, 1.0), 17)
    colors: NDArray[np.float64] = np.concatenate([shades, grays, outline])
    scaled: NDArray[np.int_] = (255 * colors).round().astype(int)
    return scaled
