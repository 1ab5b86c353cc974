"""From mixing probabilities to a genotype of the mlp space and back to its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from darts.spaces.mlp.genotype import Genotype
from darts.spaces.mlp.layers import SKIP
from darts.spaces.probability_rows import checked_rows

Candidates = Mapping[str, Sequence[Sequence[str]]]


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Give each layer its most probable candidate, and leave those out that are to be skipped.

    Args:
        probabilities: by group ``(layers, candidates)``, on any device.
        candidates: by group, for each layer the name of each column.

    Returns:
        The genotype. Ties go to the lower column.

    Raises:
        ValueError: groups or shapes that do not fit the candidates, or values that are not finite
            or not within 0 and 1.
    """
    columns = best_columns(probabilities, candidates)
    names = [
        own[column]
        for group, rows in candidates.items()
        for own, column in zip(rows, columns[group], strict=True)
    ]
    return Genotype(tuple(name for name in names if name != SKIP))


def best_columns(
    probabilities: Mapping[str, Tensor], candidates: Candidates
) -> dict[str, list[int]]:
    """By group the most probable column of each layer; arguments and errors as ``derive``."""
    if set(probabilities) != set(candidates):
        raise ValueError(
            f"probabilities are for groups {sorted(probabilities)}, not {sorted(candidates)}"
        )
    columns: dict[str, list[int]] = {}
    for group, names in candidates.items():
        rows = checked_rows(group, probabilities[group], (len(names), len(names[0])))
        # Lists, since max() keeps the first among equals.
        columns[group] = [max(range(len(row)), key=row.__getitem__) for row in rows]
    return columns


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Which column of which layer a genotype uses: by group ``(layers, candidates)``.

    The supernet's first layers are the genotype's, and those behind them are skipped.

    Raises:
        ValueError: for a genotype that is not among the candidates.
    """
    rows = [(group, own) for group, names in candidates.items() for own in names]
    if len(genotype.layers) > len(rows):
        raise ValueError(f"the genotype has {len(genotype.layers)} layers, more than {len(rows)}")
    found: dict[str, list[list[bool]]] = {group: [] for group in candidates}
    for number, (group, own) in enumerate(rows):
        name = genotype.layers[number] if number < len(genotype.layers) else SKIP
        if name not in own:
            raise ValueError(f"{name} is no candidate of a layer of the group {group}")
        found[group].append([name == other for other in own])
    return {group: torch.tensor(masks) for group, masks in found.items()}
