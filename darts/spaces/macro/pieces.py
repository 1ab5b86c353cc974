"""Pieces of the discrete network with every candidate of every block, for the cost of each.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.3: expected costs under the mixing
    weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from darts.spaces.checks import check_positive
from darts.spaces.macro.skeleton import (
    last_channels,
    make_head,
    make_operation,
    make_stem,
    plan_blocks,
)
from darts.spaces.network_piece import NetworkPiece


def pieces(channels: int, cells: int, classes: int, image: Sequence[int]) -> Iterator[NetworkPiece]:
    """Yield all candidates of all blocks and the fixed modules, in the order of the layers.

    The fixed modules and one candidate per block together have the parameters and MACs of
    ``Network``.

    Args:
        channels: width of the first stage.
        cells: number of blocks in each stage.
        classes: number of classes.
        image: shape of an image, ``(C, H, W)``.

    Raises:
        ValueError: a size that is not positive.
    """
    in_channels, height, width = image
    check_positive(channels=channels, cells=cells, classes=classes, in_channels=in_channels)
    check_positive(height=height, width=width)
    yield NetworkPiece(partial(make_stem, in_channels, channels), (in_channels, height, width))
    for plan in plan_blocks(channels, cells):
        shape = (plan.inputs, height, width)
        for column, name in enumerate(plan.candidates):
            place = (plan.group, plan.row, column)
            yield NetworkPiece(partial(make_operation, name, plan), shape, place)
        height, width = (-(-side // plan.stride) for side in (height, width))
    last = last_channels(channels)
    yield NetworkPiece(partial(make_head, last, classes), (last, height, width))
