"""Conversions between mixing probabilities, transformer genotypes and masks of candidates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from darts.spaces.deriving import Candidates, best_operations, check_groups, mask_row
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.supernet import GROUPS


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Choose the most probable mixer and the most probable feed-forward layer of each block.

    Args:
        probabilities: ``(blocks, candidates)`` by group, on any device.
        candidates: names of the columns, by group and block.

    Returns:
        The genotype. Ties go to the lower column.

    Raises:
        ValueError: if groups or shapes do not match the candidates, or values are not finite or not
            within 0 and 1.
    """
    check_groups("probabilities", probabilities, GROUPS)
    operations = best_operations(probabilities, {group: candidates[group] for group in GROUPS})
    return Genotype(tuple(zip(*operations.values(), strict=True)))


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Return which candidates a genotype uses: by group a mask ``(blocks, candidates)``.

    Raises:
        ValueError: if the genotype is not among the candidates.
    """
    masks: dict[str, Tensor] = {}
    for group, names in zip(GROUPS, zip(*genotype.blocks, strict=True), strict=True):
        rows = candidates[group]
        if len(rows) != len(names):
            raise ValueError(f"the genotype has {len(names)} blocks, not {len(rows)}")
        masks[group] = torch.tensor(
            [
                mask_row(name, row, f"of a block's {group}")
                for name, row in zip(names, rows, strict=True)
            ]
        )
    return masks
