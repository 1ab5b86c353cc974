"""Architectures of the mlp space as points, and drawing one at random.

The depth is a parameter, and each layer has two: its width and its activation, which are active
where the network is as deep. So each genotype is one point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from darts.spaces.mlp.genotype import Genotype
from darts.spaces.parameters import Choice, Parameter, Point, Range, Value


def random_genotype(
    generator: torch.Generator, activations: Sequence[str], widths: Sequence[int], cells: int
) -> Genotype:
    """Draw a genotype of at most ``cells`` layers, each with the same probability.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
    """

    def below(count: int) -> int:
        return int(torch.randint(count, (), generator=generator, device=generator.device))

    # There are so many times more networks of one layer more; relative to those of all layers.
    kinds = len(activations) * len(widths)
    shares = [float(kinds) ** (depth - cells) for depth in range(1, cells + 1)]
    place = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64)
    rest, depth = float(place) * sum(shares), 1
    while depth < cells and rest >= shares[depth - 1]:
        rest, depth = rest - shares[depth - 1], depth + 1
    return Genotype(
        tuple(
            f"{activations[below(len(activations))]}_{widths[below(len(widths))]}"
            for _ in range(depth)
        )
    )


def parameters(activations: Sequence[str], widths: Sequence[int], cells: int) -> list[Parameter]:
    """The depth, and each layer's width and activation."""
    found = [Parameter("depth", Range(1, cells, whole=True))]
    for number in range(1, cells + 1):
        when = (("depth", tuple(range(number, cells + 1))),)
        found.append(Parameter(f"layer{number}.width", Choice(tuple(widths)), when))
        found.append(Parameter(f"layer{number}.activation", Choice(tuple(activations)), when))
    return found


def encode(
    genotype: Genotype, activations: Sequence[str], widths: Sequence[int], cells: int
) -> Point:
    """The genotype as a point of ``parameters``.

    Raises:
        ValueError: when it is none of the space's: depth, width or activation.
    """
    if len(genotype.layers) > cells:
        raise ValueError(
            f"a genotype of {len(genotype.layers)} layers is none of space.cells={cells}"
        )
    point: Point = {"depth": len(genotype.layers)}
    for number, (activation, width) in enumerate(genotype.layer_specs, 1):
        if activation not in activations or width not in widths:
            raise ValueError(
                f"layer {activation}_{width} is none of space.activations={list(activations)} and "
                f"space.widths={list(widths)}"
            )
        point[f"layer{number}.width"] = width
        point[f"layer{number}.activation"] = activation
    return point


def decode(point: Mapping[str, Value]) -> Genotype:
    """The genotype that ``encode`` makes this point of."""
    numbers = range(1, int(point["depth"] or 0) + 1)
    return Genotype(
        tuple(f"{point[f'layer{n}.activation']}_{point[f'layer{n}.width']}" for n in numbers)
    )
