"""Architectures of NAS-Bench-201 as points of a grid: six edges with five choices each.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from darts.spaces.genotype_text import brief
from darts.spaces.nas201.genotype import ARCHITECTURES, EDGES, PRIMITIVES, Genotype


def random_genotype(generator: torch.Generator) -> Genotype:
    """Draw one of the 15,625 architectures, each with the same probability.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
    """
    drawn = torch.randint(ARCHITECTURES, (), generator=generator, device=generator.device)
    return Genotype.from_index(int(drawn))


def dimensions() -> list[tuple[str, tuple[str, ...]]]:
    """Name and choices of each dimension: the edges, as ``"source>target"``, and the operations."""
    return [(f"{source}>{target}", PRIMITIVES) for source, target in EDGES]


def encode(genotype: Genotype) -> tuple[int, ...]:
    """For each dimension the number of the choice."""
    return tuple(PRIMITIVES.index(name) for name in genotype.operations)


def decode(indices: Sequence[int]) -> Genotype:
    """The genotype that ``encode`` makes these numbers of.

    Raises:
        ValueError: for another count of numbers, or one that is no choice.
    """
    for index in indices:
        whole = isinstance(index, int) and not isinstance(index, bool)
        if not whole or not 0 <= index < len(PRIMITIVES):
            raise ValueError(
                f"{brief(index)} is no operation's number, from 0 to {len(PRIMITIVES) - 1}"
            )
    return Genotype.of(*(PRIMITIVES[index] for index in indices))


def neighbours(genotype: Genotype) -> list[Genotype]:
    """All genotypes that differ in the operation of one edge: 24, edge by edge."""
    point = encode(genotype)
    return [
        decode((*point[:edge], choice, *point[edge + 1 :]))
        for edge, current in enumerate(point)
        for choice in range(len(PRIMITIVES))
        if choice != current
    ]
