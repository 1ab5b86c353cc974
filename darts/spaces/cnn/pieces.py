"""The discrete network taken apart, with every candidate on every edge, for what each costs.

References:
    DARTS, arXiv:1806.09055, section 3.1, for the stack of cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from torch import nn

from darts.spaces.cnn.operations import make_operation
from darts.spaces.cnn.skeleton import (
    CELLS,
    CellPlan,
    count_nodes,
    edges,
    make_preprocessing,
    make_stem,
    plan_cells,
)
from darts.spaces.piece import Piece


def pieces(
    candidates: Mapping[str, Sequence[Sequence[str]]],
    *,
    channels: int,
    cells: int,
    stem: str,
    classes: int,
    image: Sequence[int],
) -> Iterator[Piece]:
    """Stem, each cell's preprocessing and all its candidates, classifier; no auxiliary head.

    Args:
        candidates: by kind of cell and edge the names of the alphas' columns.
        channels: width of the first cell's nodes.
        cells: number of cells.
        stem: "small" or "imagenet".
        classes: number of classes.
        image: ``(C, H, W)``.
    """
    in_channels, *size = image
    first, width = make_stem(stem, in_channels, channels)
    yield Piece(lambda: make_stem(stem, in_channels, channels)[0], tuple(image))
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
            yield Piece(make, (inputs, *sides[index]))
        here = sides[1]  # preprocessing has brought both inputs to this size
        inner = _halved(here) if plan.kind == "reduce" else here
        for edge, (source, _) in enumerate(edges(nodes)):
            outside = source < 2
            stride = 2 if plan.kind == "reduce" and outside else 1
            shape = (plan.channels, *(here if outside else inner))
            for column, name in enumerate(candidates[plan.kind][edge]):
                make_one = partial(make_operation, name, plan.channels, stride)
                yield Piece(make_one, shape, (plan.kind, edge, column))
        sides = [here, inner]
        last = nodes * plan.channels
    yield Piece(lambda: nn.Linear(last, classes), (last,))


def _preprocessing(plan: CellPlan, index: int) -> nn.Module:
    return make_preprocessing(plan, affine=True)[index]


def _halved(side: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-length // 2) for length in side)
