"""Architectures of the cell-based space as points: for now, drawing one at random.

References:
    The uniform distribution over cells is the random-search baseline of DARTS, arXiv:1806.09055,
    section 3.2, and of "Random Search and Reproducibility for NAS", arXiv:1902.07638.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch

from darts.spaces.genotype import OPERATIONS, PRIMITIVES, Genotype

SEARCHED: tuple[str, ...] = tuple(name for name in PRIMITIVES if name != "none")
"""The primitives that a discrete cell may carry."""


def random_genotype(
    generator: torch.Generator,
    nodes: int = 4,
    operations: Sequence[str] | Mapping[str, Sequence[Sequence[str]]] = SEARCHED,
) -> Genotype:
    """Draw both cells uniformly: two distinct sources a node, an operation for each.

    Args:
        generator: the only source of randomness; equal states give equal genotypes.
        nodes: intermediate nodes of each cell; all of them are concatenated.
        operations: names to draw from, each with the same probability; or by cell the candidates
            of each edge, of which ``none`` is never drawn.

    Raises:
        ValueError: fewer than one node, or no, unknown or repeated operations.
    """
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
        raise ValueError(f"nodes must be a whole number of at least 1, not {nodes!r}")
    if not isinstance(operations, Mapping):
        _check(operations)

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator, device=generator.device))

    def draw_cell(cell: str) -> tuple[tuple[str, int], ...]:
        found: list[tuple[str, int]] = []
        for node in range(nodes):
            order = torch.randperm(node + 2, generator=generator, device=generator.device)
            for source in sorted(order[:2].tolist()):
                names = operations
                if isinstance(operations, Mapping):
                    row = operations[cell][node * (node + 3) // 2 + source]
                    names = [name for name in row if name != "none"]
                found.append((cast(Sequence[str], names)[draw(len(names))], source))
        return tuple(found)

    concat = tuple(range(2, nodes + 2))
    return Genotype(draw_cell("normal"), concat, draw_cell("reduce"), concat)


def _check(operations: Sequence[str]) -> None:
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown or not operations or len(set(operations)) != len(operations):
        raise ValueError(
            f"operations must be one or more distinct names of {', '.join(OPERATIONS)}, "
            f"not {list(operations)!r}"
        )
