"""Dropout and drop path with masks that do not depend on how many ranks share a batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def set_batch_share(net: nn.Module, first: int, total: int) -> None:
    """Let a network draw the masks of batches that several ranks share.

    Args:
        first: Index of this rank's first sample in the whole batch.
        total: Size of the whole batch.
    """
    for module in net.modules():
        vars(module)["batch_share"] = first, total


def dropout_mask(
    module: nn.Module, x: Tensor, shape: Sequence[int], probability: float
) -> Tensor | None:
    """Draw a dropout mask ``(B, ...)``: 0 with ``probability``, else ``1 / (1 - probability)``.

    It is None if ``module``, which applies it, is not in training or drops nothing. Every rank
    draws the mask of the whole batch and returns its own share, so the result is the same for any
    number of ranks. Masks come from PyTorch's default generator of the device, whose state is in
    the checkpoint.
    """
    if not module.training or probability == 0:
        return None
    keep = 1.0 - probability
    first, total = getattr(module, "batch_share", (0, shape[0]))
    mask = x.new_empty(total, *shape[1:]).bernoulli_(keep).div_(keep)
    return mask[first : first + shape[0]]


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def rank_dropout(module: nn.Module, x: Tensor, probability: float) -> Tensor:
    """Apply the dropout of a module to ``x``, ``(B, ...)``."""
    return apply_mask(x, dropout_mask(module, x, x.shape, probability))


def drop_path(module: nn.Module, x: Tensor, probability: float) -> Tensor:
    """Set whole samples of ``x``, ``(B, ...)``, to zero and scale the others to keep the mean."""
    shape = x.shape[:1] + (1,) * (x.ndim - 1)  # len(x) would fix the size of exported batches
    return apply_mask(x, dropout_mask(module, x, shape, probability))
