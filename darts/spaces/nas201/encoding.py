"""Architectures of NAS-Bench-201 as points of a grid: six edges with five choices each.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from darts.spaces.nas201.genotype import ARCHITECTURES, EDGES, PRIMITIVES, Genotype
from darts.spaces.parameters import Choice, Parameter, Point, Value

NAMES = tuple(f"{source}>{target}" for source, target in EDGES)
"""Name of each edge's parameter."""


def random_genotype(generator: torch.Generator) -> Genotype:
    """Draw one of the 15,625 architectures, each with the same probability.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
    """
    drawn = torch.randint(ARCHITECTURES, (), generator=generator, device=generator.device)
    return Genotype.from_index(int(drawn))


def parameters() -> list[Parameter]:
    """The operation of each edge."""
    return [Parameter(name, Choice(PRIMITIVES)) for name in NAMES]


def encode(genotype: Genotype) -> Point:
    """The genotype as a point of ``parameters``."""
    return dict(zip(NAMES, genotype.operations, strict=True))


def decode(point: Mapping[str, Value]) -> Genotype:
    """The genotype that ``encode`` makes this point of.

    Raises:
        ValueError: for an unknown operation.
    """
    return Genotype.from_operations(*(str(point[name]) for name in NAMES))
