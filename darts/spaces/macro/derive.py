"""Conversions between mixing probabilities, macro genotypes and masks of candidates.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.2: the path with the highest weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from darts.spaces.deriving import Candidates, best_operations, mask_row
from darts.spaces.macro.genotype import STAGES, Genotype

T = TypeVar("T")


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Give each block its most probable operation.

    Args:
        probabilities: by group ``(blocks, candidates)``, on any device.
        candidates: by group and block, the operation of each column.

    Returns:
        The genotype. Ties go to the lower column.

    Raises:
        ValueError: groups or shapes that do not match the candidates, or values that are not finite
            or not within 0 and 1.
    """
    return Genotype(tuple(in_block_order(best_operations(probabilities, candidates))))


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Return which candidates a genotype uses: by group a mask ``(blocks, candidates)``.

    Raises:
        ValueError: the genotype is not among the candidates.
    """
    masks: dict[str, list[list[bool]]] = {group: [] for group in candidates}
    blocks = in_block_order(
        {group: [(group, names) for names in rows] for group, rows in candidates.items()}
    )
    if len(blocks) != len(genotype.blocks):
        raise ValueError(f"the genotype has {len(genotype.blocks)} blocks, not {len(blocks)}")
    for (group, names), operation in zip(blocks, genotype.blocks, strict=True):
        masks[group].append(mask_row(operation, names, f"of a block of the group {group}"))
    return {group: torch.tensor(rows) for group, rows in masks.items()}


def in_block_order(groups: Mapping[str, Sequence[T]]) -> list[T]:
    """Return the items of both groups in the order of the blocks.

    Args:
        groups: ``"first"`` with an item for the first block of each stage, and ``"rest"`` with an
            item for each other block.
    """
    rest = groups.get("rest", ())
    others = len(rest) // STAGES
    return [
        item
        for stage in range(STAGES)
        for item in (groups["first"][stage], *rest[stage * others : (stage + 1) * others])
    ]
