"""The discrete network of the mlp space taken apart, for what each choice costs.

A linear map has the width of the layer before it as its height, so that its cost depends on two
layers: for each pair of widths there is a piece, and ``usage`` says how probable the pair is. The
expected costs are exact for layers that are drawn independently of each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from darts.spaces.mlp.layers import ACTIVATION_MODULES, make_preactivation
from darts.spaces.network_piece import NetworkPiece


def pieces(
    activations: Sequence[str],
    widths: Sequence[int],
    cells: int,
    normalization: str,
    classes: int,
    image: Sequence[int],
) -> Iterator[NetworkPiece]:
    """All linear maps with their norms, all activations, and the classifiers, by width.

    Args:
        activations: of each layer.
        widths: of each layer.
        cells: number of layers.
        normalization: one of ``NORMALIZATIONS``.
        classes: number of classes.
        image: shape of a sample, ``(C, H, W)``.
    """
    inputs = math.prod(image)
    for column, width in enumerate(widths):
        make = partial(make_preactivation, inputs, width, normalization)
        yield NetworkPiece(make, (inputs,), ("input", 0, column))
    for layer in range(cells):
        group, row = ("rest", layer - 1) if layer else ("first", 0)
        for number, activation in enumerate(activations):
            for column, width in enumerate(widths):
                place = (group, row, number * len(widths) + column)
                yield NetworkPiece(ACTIVATION_MODULES[activation], (width,), place)
        for source, before in enumerate(widths) if layer else ():
            for column, width in enumerate(widths):
                place = ("pairs", layer - 1, source * len(widths) + column)
                make = partial(make_preactivation, before, width, normalization)
                yield NetworkPiece(make, (before,), place)
    for column, width in enumerate(widths):
        yield NetworkPiece(partial(nn.Linear, width, classes), (width,), ("output", 0, column))


def usage(probabilities: Mapping[str, Tensor], widths: int) -> dict[str, Tensor]:
    """How probable each piece is.

    Args:
        probabilities: by group ``(layers, candidates)``, each layer's with the sum 1.
        widths: how many there are.

    Returns:
        The probabilities, and beside them ``"input"`` and ``"output"``, the widths of the first and
        the last layer, ``(1, widths)``; and ``"pairs"``, for each layer but the first its width
        together with that before it, ``(layers - 1, widths * widths)``.
    """
    first = probabilities["first"].view(-1, widths).sum(0)  # (widths,)
    before, pairs = first, []
    for row in probabilities["rest"].unbind() if "rest" in probabilities else ():
        own = row[:-1].view(-1, widths).sum(0)
        pairs.append(torch.outer(before, own).flatten())
        before = own + row[-1] * before  # a layer that is skipped leaves the width as it is
    found = {**probabilities, "input": first[None], "output": before[None]}
    return {**found, "pairs": torch.stack(pairs)} if pairs else found
