"""Descriptions of the tensors that a network takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """One input tensor of a network, as an export needs it.

    Attributes:
        name: name of the input.
        shape: shape of an example tensor.
        dynamic_axes: names of the axes of variable length, by axis.
        num_tokens: exclusive upper bound of token indices; None for float tensors. The indices of
            an example start at 1, because 0 may be padding.
        mean, std: normalization of samples by channel, see ``Source``.
    """

    name: str
    shape: tuple[int, ...]
    dynamic_axes: Mapping[int, str]
    num_tokens: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
