"""Pieces of the mlp network, for the cost of each choice.

The cost of a linear map depends on the widths of two layers, so there is a piece for each pair of
widths, and ``expected_usage`` returns the probability of each pair. The expected costs are exact if
the layers are drawn independently.
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
    image: Sequence[int],
) -> Iterator[NetworkPiece]:
    """Yield all linear maps with their norms, all activations, and the classifiers, by width."""
    inputs = math.prod(image)
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
        for source, before in enumerate(widths):
            for column, width in enumerate(widths):
                place = ("pairs", layer - 1, source * len(widths) + column)
                make = partial(make_preactivation, before, width, normalization)
                yield NetworkPiece(make, (before,), place)
    for column, width in enumerate(widths):
        yield NetworkPiece(partial(nn.Linear, width, classes), (width,), ("output", 0, column))


def expected_usage(probabilities: Mapping[str, Tensor], widths: int) -> dict[str, Tensor]:
    """Return the probability of each piece, for normalized probabilities ``(layers, candidates)``.

    The result has three more groups: ``"input"`` and ``"output"`` for the widths of the first and
    the last layer, ``(1, widths)``; ``"pairs"`` for the width of each layer but the first together
    with the width before it, ``(layers - 1, widths * widths)``.
    """
    first = probabilities["first"].view(-1, widths).sum(0)  # (widths,)
    before, pairs = first, []
    for row in probabilities["rest"].unbind() if "rest" in probabilities else ():
        layer = row[:-1].view(-1, widths).sum(0)
        pairs.append(torch.outer(before, layer).flatten())
        before = layer + row[-1] * before  # a skipped layer keeps the width
    usage = {**probabilities, "input": first[None], "output": before[None]}
    return {**usage, "pairs": torch.stack(pairs)} if pairs else usage
