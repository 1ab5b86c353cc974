"""The film of a search's alphas."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from darts.plotting.alpha_animation import MAX_FRAMES, LAST_FRAME_MS, MAX_FRAME_MS, MIN_FRAME_MS, sample_epochs, animate_alphas

OPERATIONS = ["none", "skip_connect", "sep_conv_3x3"]


def told(epochs: int, edges: int = 2) -> dict[str, Any]:
    """Alphas of two kinds of cell, other ones in each epoch."""
    generator = torch.Generator().manual_seed(0)
    return {
        cell: {
            "edges": [f"{edge}→2" for edge in range(edges)],
            "operations": [OPERATIONS] * edges,
            "epochs": torch.rand(epochs, edges, 3, generator=generator).softmax(-1).tolist(),
        }
        for cell in ("normal", "reduce")
    }


def frames_of(gif: bytes) -> tuple[list[np.ndarray], list[int], Any]:
    """Pictures ``(H, W, 3)`` and milliseconds of the frames, and after how many rounds it ends."""
    with Image.open(io.BytesIO(gif)) as opened:
        pictures, durations = [], []
        for frame in ImageSequence.Iterator(opened):
            durations.append(frame.info["duration"])
            pictures.append(np.asarray(frame.convert("RGB")).astype(int))
        return pictures, durations, opened.info.get("loop")


def test_a_frame_an_epoch_the_last_held_and_then_again() -> None:
    pictures, durations, loop = frames_of(animate_alphas(told(7)))
    assert len(pictures) == 7
    assert len({picture.shape for picture in pictures}) == 1
    assert MIN_FRAME_MS <= durations[0] <= MAX_FRAME_MS
    assert durations[:-1] == durations[:1] * 6
    assert durations[-1] == LAST_FRAME_MS > durations[0]
    assert loop == 0  # for ever


def test_of_many_epochs_few_are_shown_evenly_and_the_ends_always() -> None:
    pictures, durations, _ = frames_of(animate_alphas(told(200)))
    assert len(pictures) == MAX_FRAMES
    assert sum(durations[:-1]) < 10_000
    for count in (2, 59, 60, 61, 100, 599):
        shown = sample_epochs(count, 60)
        assert (shown[0], shown[-1], len(shown)) == (0, count - 1, min(count, 60))
        steps = set(np.diff(shown).tolist())
        assert min(steps) >= 1
        assert max(steps) - min(steps) <= 1


def test_what_changes_is_seen_where_it_changes() -> None:
    """One weight of one edge moves: the picture moves there, and where the epoch is told."""
    alphas = told(2)
    for own in alphas.values():
        own["epochs"] = [[[0.25, 0.25, 0.5], [0.1, 0.2, 0.7]] for _ in range(2)]
    still, _, _ = frames_of(animate_alphas(alphas))
    alphas["normal"]["epochs"][1][1] = [0.1, 0.7, 0.2]
    moved, _, _ = frames_of(animate_alphas(alphas))
    assert np.array_equal(moved[0], still[0])
    where = (moved[1] != still[1]).any(-1)
    rows, columns = np.nonzero(where)
    height, width = where.shape
    assert rows.min() > 0.5 * height  # the second of two edges
    assert columns.max() < 0.6 * width  # the left matrix
    assert where.sum() > 0.005 * height * width
    heading = (still[0] != still[1]).any(-1)
    assert heading.any()
    assert np.nonzero(heading)[0].max() < 0.15 * height


def test_colors_mean_the_same_in_all_frames_and_matrices() -> None:
    """What is 0.25 in the first frame looks as what is 0.25 in the last, beside any others."""
    alphas = told(2)
    for cell, matrices in (
        ("normal", [[[0.25] * 3] * 2, [[0.9] * 3] * 2]),
        ("reduce", [[[0.9] * 3] * 2, [[0.25] * 3] * 2]),
    ):
        alphas[cell]["epochs"] = matrices
    (first, last), _, _ = frames_of(animate_alphas(alphas))
    height, width = first.shape[:2]
    left = first[int(0.7 * height) :, : int(0.4 * width)].reshape(-1, 3)
    right = last[int(0.7 * height) :, int(0.45 * width) : int(0.8 * width)].reshape(-1, 3)

    def shade(pixels: np.ndarray) -> tuple[int, ...]:
        """The color that is seen most, but for the white of the paper."""
        colors, counts = np.unique(pixels, axis=0, return_counts=True)
        counts[(colors > 250).all(-1)] = 0
        return tuple(colors[counts.argmax()].tolist())

    assert shade(left) == shade(right)
    dark = last[int(0.7 * height) :, : int(0.4 * width)].reshape(-1, 3)
    assert sum(shade(dark)) < sum(shade(left))


def test_what_the_genotype_keeps_is_outlined() -> None:
    plain, _, _ = frames_of(animate_alphas(told(2)))
    outlined, _, _ = frames_of(animate_alphas(told(2), kept={"reduce": {(0, 2)}}))
    changed = outlined[1][(plain[1] != outlined[1]).any(-1)]
    assert len(changed) > 50
    # More red than blue, but where the corners are blended.
    assert (changed[:, 0] > changed[:, 2] + 100).mean() > 0.9


def test_edges_with_candidates_of_their_own_and_any_number_of_kinds() -> None:
    alphas = {
        f"kind {number}": {
            "edges": ["0→1", "1→2"],
            "operations": [["a", "b"], ["c", "d"]],
            "epochs": [[[0.5, 0.5], [0.1, 0.9]]],
        }
        for number in range(3)
    }
    pictures, _, _ = frames_of(animate_alphas(alphas))
    assert len(pictures) == 1
    one, _, _ = frames_of(animate_alphas({"a": alphas["kind 0"]}))
    assert pictures[0].shape[0] > one[0].shape[0]
    assert pictures[0].shape[1] > one[0].shape[1]
    # Side by side they would be too wide to be read.
    wide = {"edges": ["0→1"], "operations": [list("abcdefghijkl")], "epochs": [[[0.1] * 12]]}
    one, _, _ = frames_of(animate_alphas({"a": wide}))
    two, _, _ = frames_of(animate_alphas({"a": wide, "b": wide}))
    assert two[0].shape[1] == one[0].shape[1]


def test_any_names_are_drawn() -> None:
    """Also those that matplotlib would take for formulas, and those that its font lacks."""
    alphas = told(1)
    alphas["$\\frac{$"] = alphas.pop("normal")
    alphas["$\\frac{$"]["operations"] = [["$x_$", "\u4f60", "<b>"]] * 2
    assert len(frames_of(animate_alphas(alphas))[0]) == 1


def test_equal_alphas_give_equal_files() -> None:
    assert animate_alphas(told(3)) == animate_alphas(told(3))
    assert animate_alphas(told(3)) != animate_alphas(told(4))


def test_without_an_epoch_there_is_no_film() -> None:
    with pytest.raises(ValueError, match="no alphas"):
        animate_alphas({})
    with pytest.raises(ValueError, match="no alphas"):
        animate_alphas(told(0))
    with pytest.raises(ValueError, match="two frames, not 1"):
        animate_alphas(told(3), frames=1)
