"""Descriptions of the tensors that a network takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """One input tensor of a network, as an export needs it.

    Attributes:
        name: Name of the input.
        shape: Shape of an example tensor.
        dynamic_axes: Name of each axis of variable length, by the index of the axis.
        num_tokens: Token indices are below this number; None for float tensors. The indices of an
            example start at 1, because 0 may be padding.
        mean, std: Mean and standard deviation of each channel, see ``Source``; None if the input is
            not normalized.
    """

    name: str
    shape: tuple[int, ...]
    dynamic_axes: Mapping[int, str]
    num_tokens: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
