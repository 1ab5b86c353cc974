"""Mlp genotypes as points of a parameter space, and random genotypes.

The depth is a parameter. Each layer has two parameters, width and activation, which are active if
the network is that deep. Each genotype is exactly one point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from darts.spaces.mlp.genotype import Genotype
from darts.spaces.parameters import Choice, Parameter, Point, Range, Value


def random_genotype(
    generator: torch.Generator, activations: Sequence[str], widths: Sequence[int], cells: int
) -> Genotype:
    """Draw a genotype of at most ``cells`` layers from the uniform distribution.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
        activations: activations to choose from.
        widths: widths to choose from.
        cells: maximum number of layers.
    """

    def draw_below(count: int) -> int:
        return int(torch.randint(count, (), generator=generator, device=generator.device))

    # The number of networks grows by this factor with each layer. Shares are relative to the
    # number of networks of maximum depth.
    layer_choices = len(activations) * len(widths)
    shares = [float(layer_choices) ** (depth - cells) for depth in range(1, cells + 1)]
    uniform = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64)
    remaining, depth = float(uniform) * sum(shares), 1
    while depth < cells and remaining >= shares[depth - 1]:
        remaining, depth = remaining - shares[depth - 1], depth + 1
    return Genotype(
        tuple(
            f"{activations[draw_below(len(activations))]}_{widths[draw_below(len(widths))]}"
            for _ in range(depth)
        )
    )


def parameters(activations: Sequence[str], widths: Sequence[int], cells: int) -> list[Parameter]:
    """Return the parameters for the depth, and for the width and activation of each layer."""
    result = [Parameter("depth", Range(1, cells, integer=True))]
    for layer in range(1, cells + 1):
        condition = (("depth", tuple(range(layer, cells + 1))),)
        result.append(Parameter(f"layer{layer}.width", Choice(tuple(widths)), condition))
        result.append(Parameter(f"layer{layer}.activation", Choice(tuple(activations)), condition))
    return result


def encode(
    genotype: Genotype, activations: Sequence[str], widths: Sequence[int], cells: int
) -> Point:
    """Return the genotype as a point of ``parameters``.

    Raises:
        ValueError: if the space does not contain its depth, or the width or activation of a layer.
    """
    if len(genotype.layers) > cells:
        raise ValueError(
            f"the genotype has {len(genotype.layers)} layers, more than space.cells={cells}"
        )
    point: Point = {"depth": len(genotype.layers)}
    for layer, (activation, width) in enumerate(genotype.layer_specs, 1):
        if activation not in activations or width not in widths:
            raise ValueError(
                f"layer {activation}_{width} is not in space.activations={list(activations)} and "
                f"space.widths={list(widths)}"
            )
        point[f"layer{layer}.width"] = width
        point[f"layer{layer}.activation"] = activation
    return point


def decode(point: Mapping[str, Value]) -> Genotype:
    """Return the genotype of a point; the inverse of ``encode``."""
    layers = range(1, int(point["depth"] or 0) + 1)
    return Genotype(
        tuple(f"{point[f'layer{n}.activation']}_{point[f'layer{n}.width']}" for n in layers)
    )
