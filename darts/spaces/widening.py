"""Initialization of a wider supernet from a narrower one.

References:
    Chen et al., "Net2Net", arXiv:1511.05641, section 2.2 (Net2WiderNet), as DrNAS
    (arXiv:2006.10355) uses it when more channels pass through the operations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def widened(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the values of a state dict in the shapes of a wider network.

    Channel ``i`` of a wider tensor is channel ``i`` modulo the old width. Where a convolution reads
    repeated channels, its weights are divided by the number of repetitions, so its output stays the
    same.

    Args:
        old: state dict in which no tensor holds more than one operation.
        new: state dict of the wider network, with the same names.
    """
    return {name: _widened(old[name], new[name].shape) for name in new}


def _widened(value: Tensor, shape: torch.Size) -> Tensor:
    if value.shape == shape:
        return value
    index = torch.arange(shape[0], device=value.device) % value.shape[0]
    wide = value[index]
    if value.ndim > 1 and value.shape[1] != shape[1]:
        columns = torch.arange(shape[1], device=value.device) % value.shape[1]
        repeats = torch.bincount(columns, minlength=value.shape[1])[columns]
        factor = repeats.to(wide.dtype).reciprocal().view(-1, *[1] * (value.ndim - 2))
        wide = wide[:, columns] * factor
    return wide
