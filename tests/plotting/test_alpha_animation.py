"""The animation of a search's alphas."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from darts.plotting.alpha_animation import (
    LAST_FRAME_MS,
    MAX_FRAME_MS,
    MAX_FRAMES,
    MIN_FRAME_MS,
    animate_alphas,
    sample_epochs,
)

OPERATIONS = ["none", "skip_connect", "sep_conv_3x3"]


def random_history(epochs: int, edges: int = 2) -> dict[str, Any]:
    """Return random probabilities of two groups, as in alphas.json."""
    generator = torch.Generator().manual_seed(0)
    return {
        group: {
            "edges": [f"{edge}→2" for edge in range(edges)],
            "operations": [OPERATIONS] * edges,
            "epochs": torch.rand(epochs, edges, 3, generator=generator).softmax(-1).tolist(),
        }
        for group in ("normal", "reduce")
    }


def frames_of(gif: bytes) -> tuple[list[np.ndarray], list[int], Any]:
    """Return the frames ``(H, W, 3)``, durations in milliseconds and loops (0: forever)."""
    with Image.open(io.BytesIO(gif)) as opened:
        pictures, durations = [], []
        for frame in ImageSequence.Iterator(opened):
            durations.append(frame.info["duration"])
            pictures.append(np.asarray(frame.convert("RGB")).astype(int))
        return pictures, durations, opened.info.get("loop")


def test_each_epoch_is_a_frame_the_last_one_is_longer_and_the_animation_repeats() -> None:
    pictures, durations, loop = frames_of(animate_alphas(random_history(7)))
    assert len(pictures) == 7
    assert len({picture.shape for picture in pictures}) == 1
    assert MIN_FRAME_MS <= durations[0] <= MAX_FRAME_MS
    assert durations[:-1] == durations[:1] * 6
    assert durations[-1] == LAST_FRAME_MS > durations[0]
    assert loop == 0


def test_frames_show_evenly_spaced_epochs_if_there_are_many() -> None:
    pictures, durations, _ = frames_of(animate_alphas(random_history(200)))
    assert len(pictures) == MAX_FRAMES
    assert sum(durations[:-1]) < 10_000
    for count in (2, 59, 60, 61, 100, 599):
        shown = sample_epochs(count, 60)
        assert (shown[0], shown[-1], len(shown)) == (0, count - 1, min(count, 60))
        steps = set(np.diff(shown).tolist())
        assert min(steps) >= 1
        assert max(steps) - min(steps) <= 1


def test_frames_differ_only_in_changed_probabilities_and_the_heading() -> None:
    alphas = random_history(2)
    for history in alphas.values():
        history["epochs"] = [[[0.25, 0.25, 0.5], [0.1, 0.2, 0.7]] for _ in range(2)]
    still, _, _ = frames_of(animate_alphas(alphas))
    alphas["normal"]["epochs"][1][1] = [0.1, 0.7, 0.2]
    moved, _, _ = frames_of(animate_alphas(alphas))
    assert np.array_equal(moved[0], still[0])
    where = (moved[1] != still[1]).any(-1)
    rows, columns = np.nonzero(where)
    height, width = where.shape
    assert rows.min() > 0.5 * height  # the second of two edges is below
    assert columns.max() < 0.6 * width  # the group normal is on the left
    assert where.sum() > 0.005 * height * width
    heading = (still[0] != still[1]).any(-1)
    assert heading.any()
    assert np.nonzero(heading)[0].max() < 0.15 * height


def test_all_frames_and_groups_share_one_color_scale() -> None:
    """0.25 has the same color in the first frame of one group and the last of another."""
    alphas = random_history(2)
    for group, matrices in (
        ("normal", [[[0.25] * 3] * 2, [[0.9] * 3] * 2]),
        ("reduce", [[[0.9] * 3] * 2, [[0.25] * 3] * 2]),
    ):
        alphas[group]["epochs"] = matrices
    (first, last), _, _ = frames_of(animate_alphas(alphas))
    height, width = first.shape[:2]
    left = first[int(0.7 * height) :, : int(0.4 * width)].reshape(-1, 3)
    right = last[int(0.7 * height) :, int(0.45 * width) : int(0.8 * width)].reshape(-1, 3)

    def shade(pixels: np.ndarray) -> tuple[int, ...]:
        """Return the most frequent color except white."""
        colors, counts = np.unique(pixels, axis=0, return_counts=True)
        counts[(colors > 250).all(-1)] = 0
        return tuple(colors[counts.argmax()].tolist())

    assert shade(left) == shade(right)
    dark = last[int(0.7 * height) :, : int(0.4 * width)].reshape(-1, 3)
    assert sum(shade(dark)) < sum(shade(left))


def test_chosen_operations_are_outlined() -> None:
    plain, _, _ = frames_of(animate_alphas(random_history(2)))
    outlined, _, _ = frames_of(animate_alphas(random_history(2), chosen={"reduce": {(0, 2)}}))
    changed = outlined[1][(plain[1] != outlined[1]).any(-1)]
    assert len(changed) > 50
    # Most changed pixels are orange like the outline; blended ones at its border may not be.
    assert (changed[:, 0] > changed[:, 2] + 100).mean() > 0.9


def test_groups_may_have_different_candidates_per_edge_and_share_rows() -> None:
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


def test_groups_with_many_operations_are_not_side_by_side() -> None:
    wide = {"edges": ["0→1"], "operations": [list("abcdefghijkl")], "epochs": [[[0.1] * 12]]}
    one, _, _ = frames_of(animate_alphas({"a": wide}))
    two, _, _ = frames_of(animate_alphas({"a": wide, "b": wide}))
    assert two[0].shape[1] == one[0].shape[1]


def test_names_may_contain_math_symbols_and_missing_glyphs() -> None:
    """By default matplotlib parses dollar signs as formulas; its font lacks some characters."""
    alphas = random_history(1)
    alphas["$\\frac{$"] = alphas.pop("normal")
    alphas["$\\frac{$"]["operations"] = [["$x_$", "\u4f60", "<b>"]] * 2
    assert len(frames_of(animate_alphas(alphas))[0]) == 1


def test_equal_alphas_give_equal_files() -> None:
    assert animate_alphas(random_history(3)) == animate_alphas(random_history(3))
    assert animate_alphas(random_history(3)) != animate_alphas(random_history(4))


def test_history_without_epochs_or_a_limit_of_one_frame_raises() -> None:
    with pytest.raises(ValueError, match="no alphas"):
        animate_alphas({})
    with pytest.raises(ValueError, match="no alphas"):
        animate_alphas(random_history(0))
    with pytest.raises(ValueError, match="max_frames=1: must be at least 2"):
        animate_alphas(random_history(3), max_frames=1)
