"""Pieces of the discrete network with every candidate of every edge, for the cost of each.

References:
    DARTS, arXiv:1806.09055, section 3.1, for the stack of cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from torch import nn

from darts.spaces.cnn.operations import make_operation
from darts.spaces.cnn.skeleton import (
    CellPlan,
    count_nodes,
    edges,
    make_preprocessing,
    make_stem,
    plan_cells,
)
from darts.spaces.genotype import CELLS
from darts.spaces.network_piece import NetworkPiece


def pieces(
    candidates: Mapping[str, Sequence[Sequence[str]]],
    *,
    channels: int,
    cells: int,
    stem: str,
    classes: int,
    image: Sequence[int],
) -> Iterator[NetworkPiece]:
    """Yield the stem, the preprocessing and all candidates of each cell, and the classifier.

    Args:
        candidates: by group and edge, the names of the alphas' columns.
        channels: width of the first cell's nodes.
        cells: number of cells.
        stem: "small" or "imagenet".
        classes: number of classes.
        image: shape of an image, ``(C, H, W)``.
    """
    in_channels, *size = image
    first, width = make_stem(stem, in_channels, channels)
    yield NetworkPiece(lambda: make_stem(stem, in_channels, channels)[0], tuple(image))
    nodes = count_nodes(len(candidates["normal"]))
    sides = [tuple(size)] * 2
    if first.reduces:
        quarter = _halved(_halved(tuple(size)))
        sides = [quarter, _halved(quarter)]
    plans = plan_cells(
        channels,
        cells,
        stem_width=width,
        stem_reduces=first.reduces,
        outputs=dict.fromkeys(CELLS, nodes),
    )
    last = 0
    for plan in plans:
        for index, inputs in enumerate((plan.before_previous, plan.previous)):
            make = partial(_preprocessing, plan, index)
            yield NetworkPiece(make, (inputs, *sides[index]))
        here = sides[1]  # the size of both inputs after preprocessing
        inner = _halved(here) if plan.group == "reduce" else here
        for edge, (source, _) in enumerate(edges(nodes)):
            stride = plan.stride(source)
            shape = (plan.channels, *(here if source < 2 else inner))
            for column, name in enumerate(candidates[plan.group][edge]):
                make_candidate = partial(make_operation, name, plan.channels, stride)
                yield NetworkPiece(make_candidate, shape, (plan.group, edge, column))
        sides = [here, inner]
        last = nodes * plan.channels
    yield NetworkPiece(lambda: nn.Linear(last, classes), (last,))


def _preprocessing(plan: CellPlan, index: int) -> nn.Module:
    return make_preprocessing(plan, affine=True)[index]


def _halved(side: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-length // 2) for length in side)
