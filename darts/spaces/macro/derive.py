"""From mixing probabilities to a genotype of the macro space and back to its columns.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.2: the path with the highest weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from darts.spaces.macro.genotype import STAGES, Genotype
from darts.spaces.probabilities import checked_rows

Candidates = Mapping[str, Sequence[Sequence[str]]]


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Give each block its most probable operation.

    Args:
        probabilities: by group ``(blocks, candidates)``, on any device.
        candidates: by group, for each block the operation of each column.

    Returns:
        The genotype. Ties go to the lower column.

    Raises:
        ValueError: groups or shapes that do not fit the candidates, or values that are not finite
            or not within 0 and 1.
    """
    if set(probabilities) != set(candidates):
        raise ValueError(
            f"probabilities are for groups {sorted(probabilities)}, not {sorted(candidates)}"
        )
    chosen: dict[str, list[str]] = {}
    for group, names in candidates.items():
        rows = checked_rows(group, probabilities[group], (len(names), len(names[0])))
        # Lists, since max() keeps the first among equals.
        chosen[group] = [
            own[max(range(len(values)), key=values.__getitem__)]
            for own, values in zip(names, rows, strict=True)
        ]
    return Genotype(tuple(in_order(chosen)))


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Which column of which block a genotype uses: by group ``(blocks, candidates)``.

    Raises:
        ValueError: for a genotype that is not among the candidates.
    """
    found: dict[str, list[list[bool]]] = {group: [] for group in candidates}
    order = in_order({group: [(group, own) for own in rows] for group, rows in candidates.items()})
    if len(order) != len(genotype.blocks):
        raise ValueError(f"the genotype has {len(genotype.blocks)} blocks, not {len(order)}")
    for (group, own), name in zip(order, genotype.blocks, strict=True):
        if name not in own:
            raise ValueError(f"{name} is no candidate of a block of the group {group}")
        found[group].append([name == other for other in own])
    return {group: torch.tensor(rows) for group, rows in found.items()}


def in_order(groups: Mapping[str, Sequence[Any]]) -> list[Any]:
    """What the groups hold for their blocks, in the order of the blocks.

    Args:
        groups: ``"first"`` with an item a stage, and ``"rest"`` with those of the other blocks.
    """
    rest = groups.get("rest", ())
    after = len(rest) // STAGES
    return [
        item
        for stage in range(STAGES)
        for item in (groups["first"][stage], *rest[stage * after : (stage + 1) * after])
    ]
