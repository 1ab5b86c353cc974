"""Architectures of the cell-based space as points: for now, drawing one at random.

References:
    The uniform distribution over cells is the random-search baseline of DARTS, arXiv:1806.09055,
    section 3.2, and of "Random Search and Reproducibility for NAS", arXiv:1902.07638.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from darts.spaces.genotype import OPERATIONS, PRIMITIVES, Genotype

SEARCHED: tuple[str, ...] = tuple(name for name in PRIMITIVES if name != "none")
"""The primitives that a discrete cell may carry."""


def random_genotype(
    generator: torch.Generator, nodes: int = 4, operations: Sequence[str] = SEARCHED
) -> Genotype:
    """Draw both cells uniformly: two distinct sources a node, an operation for each.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
        nodes: intermediate nodes of each cell; all of them are concatenated.
        operations: names to draw from, each with the same probability.

    Raises:
        ValueError: fewer than one node, or no, unknown or repeated operations.
    """
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
        raise ValueError(f"nodes must be a whole number of at least 1, not {nodes!r}")
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown or not operations or len(set(operations)) != len(operations):
        raise ValueError(
            f"operations must be one or more distinct names of {', '.join(OPERATIONS)}, "
            f"not {list(operations)!r}"
        )

    def draw_cell() -> tuple[tuple[str, int], ...]:
        edges: list[tuple[str, int]] = []
        for node in range(nodes):
            order = torch.randperm(node + 2, generator=generator, device=generator.device)
            chosen = torch.randint(
                len(operations), (2,), generator=generator, device=generator.device
            )
            sources = sorted(order[:2].tolist())
            edges += [
                (operations[index], source)
                for index, source in zip(chosen.tolist(), sources, strict=True)
            ]
        return tuple(edges)

    concat = tuple(range(2, nodes + 2))
    return Genotype(draw_cell(), concat, draw_cell(), concat)
