"""Pieces of the mlp networks, for the cost of each candidate.

The cost of a linear map depends on the widths of two consecutive layers, so there is a piece for
each pair of widths, and ``expected_usage`` returns the probability of each pair. The expected costs
are exact if the candidate of each layer is drawn independently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from darts.spaces.mlp.layers import ACTIVATION_MODULES, make_preactivation
from darts.spaces.network import NetworkPiece


def pieces(
    activations: Sequence[str],
    widths: Sequence[int],
    cells: int,
    normalization: str,
    classes: int,
    sample_shape: Sequence[int],
) -> Iterator[NetworkPiece]:
    """Yield all linear maps with their norms, all activations, and a classifier for each width.

    ``sample_shape`` may have any number of dimensions, because samples are flattened.
    """
    inputs = math.prod(sample_shape)
    for column, width in enumerate(widths):
        make = partial(make_preactivation, inputs, width, normalization)
        yield NetworkPiece(make, (inputs,), ("input", 0, column))
    for layer in range(cells):
        group, row = ("rest", layer - 1) if layer else ("first", 0)
        for index, activation in enumerate(activations):
            for column, width in enumerate(widths):
                place = (group, row, index * len(widths) + column)
                yield NetworkPiece(ACTIVATION_MODULES[activation], (width,), place)
        if layer == 0:
            continue
        for previous_column, previous in enumerate(widths):
            for column, width in enumerate(widths):
                place = ("pairs", layer - 1, previous_column * len(widths) + column)
                make = partial(make_preactivation, previous, width, normalization)
                yield NetworkPiece(make, (previous,), place)
    for column, width in enumerate(widths):
        yield NetworkPiece(partial(nn.Linear, width, classes), (width,), ("output", 0, column))


def expected_usage(probabilities: Mapping[str, Tensor], num_widths: int) -> dict[str, Tensor]:
    """Return the probability of each piece.

    The probabilities are ``(layers, candidates)`` by group; those of a layer sum to one. The result
    has three more groups: ``"input"`` and ``"output"`` for the widths of the first and the last
    layer, ``(1, widths)``; ``"pairs"`` for the width of the previous layer together with that of
    each layer but the first, ``(layers - 1, widths * widths)``, ordered by the width of the
    previous layer.
    """
    first = probabilities["first"].view(-1, num_widths).sum(0)  # (widths,)
    previous, pairs = first, []
    for row in probabilities["rest"].unbind() if "rest" in probabilities else ():
        layer = row[:-1].view(-1, num_widths).sum(0)
        pairs.append(torch.outer(previous, layer).flatten())
        previous = layer + row[-1] * previous  # a skipped layer keeps the width
    usage = {**probabilities, "input": first[None], "output": previous[None]}
    return {**usage, "pairs": torch.stack(pairs)} if pairs else usage
