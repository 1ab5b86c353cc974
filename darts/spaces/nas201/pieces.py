"""The discrete network of NAS-Bench-201 taken apart, for what each candidate operation costs.

References:
    Expected costs under the mixing weights: Cai et al., "ProxylessNAS", arXiv:1812.00332,
    section 3.3.
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
    in_channels: int,
    shape: Sequence[int],
    operations: Sequence[str] = PRIMITIVES,
) -> Iterator[NetworkPiece]:
    """All candidates of all edges, and what is always there, in the order of the layers.

    Summed with weights of one for the chosen operation of each edge and zero for the others, their
    parameters and multiply-accumulates are those of ``Network``.

    Args:
        channels: width of the first stage.
        cells: number of cells in each stage.
        classes: number of classes.
        in_channels: channels of the images.
        shape: of the images, ``(in_channels, H, W)``.
        operations: candidates, in the order of the alphas' columns.

    Raises:
        ValueError: for a size that is not positive, images of other channels, or wrong operations.
    """
    check_positive(channels=channels, cells=cells, classes=classes, in_channels=in_channels)
    if len(shape) != 3 or shape[0] != in_channels:
        raise ValueError(f"shape={tuple(shape)} is not that of images of {in_channels} channels")
    _, height, width = shape
    check_positive(height=height, width=width)
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
            yield NetworkPiece(partial(ResidualBlock, *layer), here)
            height, width = -(-height // 2), -(-width // 2)
    last = last_channels(channels)
    yield NetworkPiece(partial(Head, last, classes), (last, height, width))
