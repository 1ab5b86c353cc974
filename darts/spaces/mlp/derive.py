"""Conversions between mixing probabilities, mlp genotypes and masks of candidates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from darts.spaces.deriving import Candidates, best_operations, mask_row
from darts.spaces.mlp.genotype import Genotype
from darts.spaces.mlp.layers import SKIP


def derive(probabilities: Mapping[str, Tensor], candidates: Candidates) -> Genotype:
    """Choose the most probable candidate of each layer, and leave out skipped layers.

    Args:
        probabilities: ``(layers, candidates)`` by group, on any device.
        candidates: names of the columns, by group and layer.

    Returns:
        The genotype. Ties go to the lower column.

    Raises:
        ValueError: if groups or shapes do not match the candidates, or values are not finite or not
            within 0 and 1.
    """
    operations = best_operations(probabilities, candidates)
    names = [name for group in candidates for name in operations[group]]
    return Genotype(tuple(name for name in names if name != SKIP))


def mask_of(genotype: Genotype, candidates: Candidates) -> dict[str, Tensor]:
    """Return which candidates a genotype uses: by group a mask ``(layers, candidates)``.

    The genotype's layers are the first layers of the supernet; the following layers are skipped.

    Raises:
        ValueError: if the genotype is not among the candidates.
    """
    layers = [(group, names) for group, rows in candidates.items() for names in rows]
    if len(genotype.layers) > len(layers):
        raise ValueError(f"the genotype has {len(genotype.layers)} layers, more than {len(layers)}")
    masks: dict[str, list[list[bool]]] = {group: [] for group in candidates}
    for index, (group, names) in enumerate(layers):
        operation = genotype.layers[index] if index < len(genotype.layers) else SKIP
        masks[group].append(mask_row(operation, names, f"of a layer of the group {group}"))
    return {group: torch.tensor(rows) for group, rows in masks.items()}
