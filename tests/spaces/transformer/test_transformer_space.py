"""The transformer space: derived networks, points, costs and error messages."""

from __future__ import annotations

from typing import Any

import torch

from darts.spaces.transformer import FEED_FORWARDS, MIXERS, Transformer
from darts.training.cost import count_macs

SMALL: dict[str, Any] = {"hidden": 16, "cells": 3, "length": 12}


def columns() -> list[tuple[str, int, str]]:
    groups = {"mixer": MIXERS, "feed_forward": FEED_FORWARDS}
    return [(group, i, name) for group, names in groups.items() for i, name in enumerate(names)]


def test_macs_of_each_candidate_match_a_hand_count() -> None:
    """MACs of a text of 12 words at a model width of 16."""
    space, length, width = Transformer(**SMALL), 12, 16
    costs = {
        name: count_macs(piece.make(), torch.zeros(1, *piece.shape))
        for piece in space.pieces(classes=4, sample_shape=(30,))
        for group, column, name in columns()
        if piece.place == (group, 0, column)
    }
    # Four maps per word, the products of queries and keys, and those of weights and values.
    attention = 4 * length * width**2 + 2 * length**2 * width
    assert costs == {
        **{f"attention_{heads}": attention for heads in (2, 4, 8)},
        **{f"conv_{taps}": length * taps * width for taps in (3, 7, 15)},
        "identity": 0,
        **{name: 2 * int(name[-1]) * length * width**2 for name in FEED_FORWARDS},
    }
