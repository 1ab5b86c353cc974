"""The alphas of a search as a film: a GIF with a frame an epoch, all kinds of cells together.

What stays the same is drawn once. Of each frame only the cells of the matrices and the number of
the epoch are drawn anew, so that a film takes about a second.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from darts.plotting.style import HIGHLIGHT, new_figure
from darts.searching.alphas import column_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

MAX_FRAMES = 60
"""The most frames of a film."""

TOTAL_MS, MIN_FRAME_MS, MAX_FRAME_MS, LAST_FRAME_MS = 6000, 60, 400, 2500
"""Milliseconds: all frames together, the least and the most for one of them, and the last one."""

_BESIDE, _WIDE = 2, 10  # matrices in a row, if none has more columns than that
_DPI = 100


def animate_alphas(
    told: Mapping[str, Any],
    *,
    kept: Mapping[str, Collection[tuple[int, int]]] | None = None,
    frames: int = MAX_FRAMES,
) -> bytes:
    """Mixing weights over the epochs as a GIF that begins again when it has ended.

    The colors mean the same in all frames and matrices: white is 0, the darkest is the largest
    weight of all.

    Args:
        told: by kind of cell, see ``darts.searching.alphas.named_history``.
        kept: by kind of cell ``(row, column)`` of what the genotype keeps, to be outlined.
        frames: the most of them; of more epochs evenly spaced ones are shown, the first and the
            last always.

    Raises:
        ValueError: without an epoch, or for less than two frames.
    """
    count = max((len(own["epochs"]) for own in told.values()), default=0)
    if not count:
        raise ValueError("there are no alphas to film")
    if frames < 2:
        raise ValueError(f"a film has at least two frames, not {frames}")
    shown = sample_epochs(count, frames)
    with warnings.catch_warnings():
        # As in ``rendered``: a name in a script that the font lacks is no reason to fail.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        pictures = _pictures(told, kept or {}, shown)
    each = 10 * round(min(max(TOTAL_MS / len(shown), MIN_FRAME_MS), MAX_FRAME_MS) / 10)  # GIF counts so
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[each] * (len(shown) - 1) + [LAST_FRAME_MS],
        loop=0,
    )
    return buffer.getvalue()


def sample_epochs(count: int, most: int) -> list[int]:
    """At most so many of the epochs 0 to ``count - 1``, evenly spaced, with the first and last."""
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def _pictures(
    told: Mapping[str, Any],
    kept: Mapping[str, Collection[tuple[int, int]]],
    epochs: list[int],
) -> list[Image]:
    """A picture of each of these epochs; all have the palette of the colors in use."""
    import numpy as np
    from PIL import Image

    figure, moving = _stage(told, kept)
    figure.set_dpi(_DPI)
    canvas: Any = figure.canvas
    canvas.draw()
    # The layout is found; now everything that moves is drawn over what stays.
    still = canvas.copy_from_bbox(figure.bbox)
    colors = _colors()
    pictures = []
    last = max(len(own["epochs"]) for own in told.values())
    for epoch in epochs:
        canvas.restore_region(still)
        for name, (image, above) in moving.items():
            image.set_data(told[name]["epochs"][epoch])
            image.axes.draw_artist(image)
            for artist in above:
                image.axes.draw_artist(artist)
        heading = figure.texts[-1]
        heading.set_text(f"epoch {epoch + 1} of {last}")
        figure.draw_artist(heading)
        rgba = np.asarray(canvas.buffer_rgba()).copy()  # (H, W, 4), uint8
        used, where = np.unique(rgba.view(np.uint32)[..., 0], return_inverse=True)
        apart = used.view(np.uint8).reshape(-1, 1, 4)[..., :3].astype(int) - colors  # (N, 256, 3)
        nearest = (apart**2).sum(-1).argmin(-1).astype(np.uint8)
        picture = Image.fromarray(nearest[where].reshape(rgba.shape[:2]))
        picture.putpalette(colors.astype(np.uint8).tobytes())
        pictures.append(picture)
    return pictures


def _stage(
    told: Mapping[str, Any], kept: Mapping[str, Collection[tuple[int, int]]]
) -> tuple[Figure, dict[str, tuple[Any, list[Any]]]]:
    """The figure without what moves; by kind of cell its image and what is drawn above that."""
    from matplotlib.patches import Rectangle

    names = list(told)
    columns = {name: column_names(told[name]["operations"]) for name in names}
    widest = max(map(len, columns.values()))
    beside = min(_BESIDE, len(names)) if widest <= _WIDE else 1
    below = -(-len(names) // beside)
    highest = max(len(told[name]["edges"]) for name in names)
    figure = new_figure(
        0.9 + beside * (0.8 + 0.3 * widest), 0.4 + below * (1.3 + min(0.23 * highest, 9.0))
    )
    top = max(p for own in told.values() for matrix in own["epochs"] for row in matrix for p in row)
    # So that a search that has just begun looks undecided.
    top = max(top, *(2 / len(columns[name]) for name in names))
    grid = figure.subplots(below, beside, squeeze=False)
    moving: dict[str, tuple[Any, list[Any]]] = {}
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, names, strict=False):
        operations, edges = columns[name], told[name]["edges"]
        first = told[name]["epochs"][0]
        image = axes.imshow(first, cmap="YlGnBu", vmin=0.0, vmax=top, aspect="auto", animated=True)
        lines = [
            *(axes.axhline(row - 0.5, color="white", linewidth=0.8) for row in range(len(edges))),
            *(axes.axvline(c - 0.5, color="white", linewidth=0.8) for c in range(len(operations))),
        ]
        for row, column in sorted(kept.get(name, ())):
            style: dict[str, Any] = {"edgecolor": HIGHLIGHT, "linewidth": 1.8}
            lines.append(
                axes.add_patch(
                    Rectangle((column - 0.45, row - 0.42), 0.9, 0.84, fill=False, **style)
                )
            )
        for line in lines:
            line.set_animated(True)
        plain: dict[str, Any] = {"parse_math": False}
        slanted = {"rotation": 40, "ha": "left", "rotation_mode": "anchor", **plain}
        axes.set_xticks(range(len(operations)), operations, **slanted)
        axes.set_yticks(range(len(edges)), edges, **plain)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
        axes.set_title(name, fontsize=11, loc="left", **plain)
        moving[name] = (image, lines)
    bar = figure.colorbar(moving[names[0]][0], ax=grid, fraction=0.03, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label("mixing weight", fontsize=9)
    # Constrained layout keeps a place for a heading; what is drawn there moves.
    figure.suptitle(" ", fontsize=12)
    figure.text(0.5, 0.985, "", fontsize=12, ha="center", va="top", animated=True)
    return figure, moving


def _colors() -> Any:
    """The 256 colors of a film, ``(256, 3)`` from 0 to 255.

    Those of matrices, grays for texts, and what lies between an outline and the white beside it.
    """
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    shades = colormaps["YlGnBu"](np.linspace(0.0, 1.0, 191))[:, :3]
    grays = np.repeat(np.linspace(0.0, 1.0, 48)[:, None], 3, axis=1)
    outline = np.linspace(to_rgb(HIGHLIGHT), (1.0, 1.0, 1.0), 17)
    return (255 * np.concatenate([shades, grays, outline])).round().astype(int)
