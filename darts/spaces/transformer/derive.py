"""From mixing probabilities to a genotype of the transformer space and back to its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from darts.spaces.probability_rows import checked_rows
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.supernet import GROUPS

Candidates = Mapping[str, Sequence[Sequence[str]]]


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Give each block its most probable mixer and its most probable feed-forward layer.

    Args:
        probabilities: by group ``(blocks, candidates)``, on any device.
        candidates: by group, for each block the name of each column.

    Returns:
        The genotype. Ties go to the lower column.

    Raises:
        ValueError: groups or shapes that do not fit the candidates, or values that are not finite
            or not within 0 and 1.
    """
    if set(probabilities) != set(GROUPS):
        raise ValueError(
            f"probabilities are for groups {sorted(probabilities)}, not {sorted(GROUPS)}"
        )
    chosen: dict[str, list[str]] = {}
    for group in GROUPS:
        names = candidates[group]
        rows = checked_rows(group, probabilities[group], (len(names), len(names[0])))
        # Lists, since max() keeps the first among equals.
        chosen[group] = [
            own[max(range(len(values)), key=values.__getitem__)]
            for own, values in zip(names, rows, strict=True)
        ]
    return Genotype(tuple(zip(*chosen.values(), strict=True)))


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Which columns of which block a genotype uses: by group ``(blocks, candidates)``.

    Raises:
        ValueError: for a genotype that is not among the candidates.
    """
    found: dict[str, Tensor] = {}
    for group, names in zip(GROUPS, zip(*genotype.blocks, strict=True), strict=True):
        rows = candidates[group]
        if len(rows) != len(names):
            raise ValueError(f"the genotype has {len(names)} blocks, not {len(rows)}")
        for name, row in zip(names, rows, strict=True):
            if name not in row:
                raise ValueError(f"{name} is no candidate of a block's {group}")
        found[group] = torch.tensor(
            [[name == other for other in row] for name, row in zip(names, rows, strict=True)]
        )
    return found
