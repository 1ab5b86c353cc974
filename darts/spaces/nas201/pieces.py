"""Pieces of the discrete network with every candidate of every edge, for the cost of each.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.3: expected costs under the mixing
    weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from darts.spaces.checks import check_positive
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES
from darts.spaces.nas201.skeleton import (
    Head,
    ResidualBlock,
    check_operations,
    last_channels,
    make_operation,
    make_stem,
    plan_layers,
)
from darts.spaces.network_piece import NetworkPiece


def pieces(
    channels: int,
    cells: int,
    classes: int,
    image: Sequence[int],
    operations: Sequence[str] = PRIMITIVES,
) -> Iterator[NetworkPiece]:
    """Yield all candidates of all edges and the fixed modules, in the order of the layers.

    The fixed modules and one candidate per edge together have the parameters and MACs of
    ``Network``.

    Args:
        channels: width of the first stage.
        cells: number of cells in each stage.
        classes: number of classes.
        image: shape of an image, ``(C, H, W)``.
        operations: candidates, in the order of the alphas' columns.

    Raises:
        ValueError: a shape of other length, a size that is not positive, or invalid operations.
    """
    if len(image) != 3:
        raise ValueError(f"image={tuple(image)}: must be a shape (C, H, W)")
    in_channels, height, width = image
    check_positive(channels=channels, cells=cells, classes=classes)
    check_positive(in_channels=in_channels, height=height, width=width)
    names = check_operations(operations)
    return _walk(channels, cells, classes, (in_channels, height, width), names)


def _walk(
    channels: int, cells: int, classes: int, shape: tuple[int, int, int], names: Sequence[str]
) -> Iterator[NetworkPiece]:
    in_channels, height, width = shape
    yield NetworkPiece(partial(make_stem, in_channels, channels), shape)
    for layer in plan_layers(channels, cells):
        here = (layer.inputs, height, width)
        if layer.is_cell:
            for edge in range(len(EDGES)):
                for column, name in enumerate(names):
                    make = partial(make_operation, name, layer.outputs)
                    yield NetworkPiece(make, here, ("cell", edge, column))
        else:
            yield NetworkPiece(partial(ResidualBlock, layer.inputs, layer.outputs), here)
            height, width = -(-height // 2), -(-width // 2)
    last = last_channels(channels)
    yield NetworkPiece(partial(Head, last, classes), (last, height, width))
