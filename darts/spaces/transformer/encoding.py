"""Architectures of the transformer space as points, and drawing one at random.

Each block has three parameters: its mixer, and ratio and activation of its feed-forward layer. So
each genotype is one point.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from darts.spaces.parameters import Choice, Parameter, Point, Value
from darts.spaces.transformer.genotype import FEED_FORWARDS, MIXERS, Genotype
from darts.spaces.transformer.layers import ACTIVATIONS, RATIOS


def random_genotype(generator: torch.Generator, cells: int) -> Genotype:
    """Draw a genotype of so many blocks, each with the same probability.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
    """

    def draw(names: tuple[str, ...]) -> str:
        place = torch.randint(len(names), (), generator=generator, device=generator.device)
        return names[int(place)]

    return Genotype(tuple((draw(MIXERS), draw(FEED_FORWARDS)) for _ in range(cells)))


def parameters(cells: int) -> list[Parameter]:
    """Mixer, ratio and activation of each block."""
    return [
        Parameter(f"block{number}.{what}", Choice(choices))
        for number in range(cells)
        for what, choices in (
            ("mixer", MIXERS),
            ("ratio", RATIOS),
            ("activation", tuple(ACTIVATIONS)),
        )
    ]


def encode(genotype: Genotype, cells: int) -> Point:
    """The genotype as a point of ``parameters``.

    Raises:
        ValueError: when it has another number of blocks.
    """
    if len(genotype.blocks) != cells:
        raise ValueError(
            f"a genotype of {len(genotype.blocks)} blocks is none of space.cells={cells}"
        )
    point: Point = {}
    for number, (mixer, feed_forward) in enumerate(genotype.blocks):
        activation, ratio = feed_forward.split("_")
        point[f"block{number}.mixer"] = mixer
        point[f"block{number}.ratio"] = int(ratio)
        point[f"block{number}.activation"] = activation
    return point


def decode(point: Mapping[str, Value], cells: int) -> Genotype:
    """The genotype that ``encode`` makes this point of."""
    return Genotype(
        tuple(
            (
                str(point[f"block{number}.mixer"]),
                f"{point[f'block{number}.activation']}_{point[f'block{number}.ratio']}",
            )
            for number in range(cells)
        )
    )
