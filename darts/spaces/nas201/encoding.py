"""Encoding of NAS-Bench-201 genotypes as points: six edges with five choices each.

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
    """Draw one of the 15,625 architectures with equal probabilities.

    Args:
        generator: source of the random numbers; equal states give equal genotypes.
    """
    drawn = torch.randint(ARCHITECTURES, (), generator=generator, device=generator.device)
    return Genotype.from_index(int(drawn))


def parameters() -> list[Parameter]:
    """Return one parameter per edge: its operation."""
    return [Parameter(name, Choice(PRIMITIVES)) for name in NAMES]


def encode(genotype: Genotype) -> Point:
    """Return the point of a genotype."""
    return dict(zip(NAMES, genotype.operations, strict=True))


def decode(point: Mapping[str, Value]) -> Genotype:
    """Return the genotype of a point; the inverse of ``encode``.

    Raises:
        ValueError: unknown operation.
    """
    return Genotype.from_operations(*(str(point[name]) for name in NAMES))
