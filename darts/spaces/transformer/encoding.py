"""Transformer genotypes as points of a parameter space, and random genotypes.

Each block has three parameters: its mixer, and the ratio and activation of its feed-forward layer.
Each genotype is exactly one point.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS, Genotype
from darts.spaces.transformer.layers import ACTIVATIONS, RATIOS


def random_genotype(generator: torch.Generator, cells: int) -> Genotype:
    """Draw a genotype of ``cells`` blocks from the uniform distribution.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
        cells: number of blocks.
    """

    def draw(names: tuple[str, ...]) -> str:
        index = torch.randint(len(names), (), generator=generator, device=generator.device)
        return names[int(index)]

    return Genotype(tuple((draw(MIXERS), draw(FEED_FORWARDS)) for _ in range(cells)))


def parameters(cells: int) -> list[Parameter]:
    """Return the parameters for the mixer, ratio and activation of each block."""
    choices: dict[str, tuple[Value, ...]] = {
        "mixer": MIXERS,
        "ratio": RATIOS,
        "activation": tuple(ACTIVATIONS),
    }
    return [
        Parameter(f"block{block}.{name}", Choice(values))
        for block in range(cells)
        for name, values in choices.items()
    ]


def encode(genotype: Genotype, cells: int) -> Point:
    """Return the genotype as a point of ``parameters(cells)``.

    Raises:
        ValueError: if the genotype has another number of blocks.
    """
    if len(genotype.blocks) != cells:
        raise ValueError(f"the genotype has {len(genotype.blocks)} blocks, but space.cells={cells}")
    point: Point = {}
    for block, (mixer, feed_forward) in enumerate(genotype.blocks):
        activation, ratio = feed_forward.split("_")
        point[f"block{block}.mixer"] = mixer
        point[f"block{block}.ratio"] = int(ratio)
        point[f"block{block}.activation"] = activation
    return point


def decode(point: Mapping[str, Value], cells: int) -> Genotype:
    """Return the genotype of a point; the inverse of ``encode``."""
    return Genotype(
        tuple(
            (
                str(point[f"block{block}.mixer"]),
                f"{point[f'block{block}.activation']}_{point[f'block{block}.ratio']}",
            )
            for block in range(cells)
        )
    )
