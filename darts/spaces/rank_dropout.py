"""Dropout and drop path with masks that do not depend on how many ranks share a batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

BatchShare = tuple[int, int] | None
"""Index of this rank's first sample in the whole batch, and the size of the whole batch.

None if the process holds the whole batch.
"""


def dropout_mask(
    x: Tensor, shape: Sequence[int], probability: float, batch_share: BatchShare = None
) -> Tensor:
    """Draw a dropout mask ``(B, ...)``: 0 with ``probability``, else ``1 / (1 - probability)``.

    Every rank draws the mask of the whole batch and returns its own share, so the result is the
    same for any number of ranks. Masks come from PyTorch's default generator of the device, whose
    state is in the checkpoint.
    """
    keep = 1.0 - probability
    first, total = batch_share or (0, shape[0])
    mask = x.new_empty(total, *shape[1:]).bernoulli_(keep).div_(keep)
    return mask[first : first + shape[0]]


def rank_dropout(
    x: Tensor, probability: float, training: bool, batch_share: BatchShare = None
) -> Tensor:
    """Apply dropout to ``x``, ``(B, ...)``, with the mask of ``dropout_mask``."""
    if not training or probability == 0:
        return x
    return x * dropout_mask(x, x.shape, probability, batch_share)


def drop_path(x: Tensor, probability: float, batch_share: BatchShare = None) -> Tensor:
    """Set whole samples of ``x``, ``(B, ...)``, to zero and scale the others to keep the mean."""
    shape = (len(x), *[1] * (x.ndim - 1))
    return x * dropout_mask(x, shape, probability, batch_share)
