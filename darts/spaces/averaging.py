"""Averages of predictions: for an image and its mirror image, and of an ensemble of networks.

References:
    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", 2012, section 4.1: averaging predictions of crops and their reflections.
    Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation
    using Deep Ensembles", arXiv:1612.01474, section 2.4: the mean of the probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.data.targets import CLASSES, NUMBERS
from darts.spaces.network import NetworkBase


def average_mirror_images(net: nn.Module) -> None:
    """Make a network for images ``(B, C, H, W)`` average its outputs for mirror images.

    This takes twice as long, in evaluation mode only. The state dict does not change.
    """
    net.register_forward_pre_hook(_add_mirror_images)
    net.register_forward_hook(_average_mirror_images)


def _add_mirror_images(net: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    if net.training:
        return inputs
    images, *others = inputs
    # One pass, because int8 formats need each layer only once.
    return torch.cat([images, images.flip(3)]), *others


def _average_mirror_images(net: nn.Module, inputs: object, outputs: Any) -> Any:
    if net.training:
        return outputs
    if isinstance(outputs, tuple):  # of the classifier and of the auxiliary head
        return outputs[0].unflatten(0, (2, -1)).mean(0), outputs[1]
    return outputs.unflatten(0, (2, -1)).mean(0)


class Ensemble(NetworkBase):
    """The weighted mean of the predictions of several networks, ``(B, K)`` like each of them.

    The members lose their auxiliary heads, which only training uses. The first member defines the
    genotype. For ``targets``, see ``mean_outputs``. ``widths`` says how many of the inputs of a row
    each member reads; None for all.
    """

    def __init__(
        self,
        members: Sequence[NetworkBase],
        counts: Sequence[int],
        targets: str,
        widths: Sequence[int | None],
    ) -> None:
        super().__init__(members[0].genotype)
        self.members = nn.ModuleList(members)
        self.counts, self.targets, self.widths = tuple(counts), targets, tuple(widths)
        for member in members:
            member.auxiliary = None

    def forward(self, samples: Tensor) -> Tensor:
        outputs = [
            member(samples if width is None else samples[:, :width])
            for member, width in zip(self.members, self.widths, strict=True)
        ]
        return mean_outputs(outputs, self.counts, self.targets)


def mean_outputs(outputs: Sequence[Tensor], counts: Sequence[int], targets: str) -> Tensor:
    """Return outputs ``(B, K)`` whose predictions are the weighted mean of several predictions.

    For classes, it is the logarithm of the mean of the softmax probabilities; for labels, the logit
    of the mean of the sigmoids; for numbers, the mean. See ``darts.data.targets``.
    """
    shares = [count / sum(counts) for count in counts]
    if targets == NUMBERS:
        return torch.stack([share * own for share, own in zip(shares, outputs, strict=True)]).sum(0)
    if targets == CLASSES:
        return _log_mean([F.log_softmax(own, -1) for own in outputs], shares)
    positive, negative = ([F.logsigmoid(sign * own) for own in outputs] for sign in (1, -1))
    return _log_mean(positive, shares) - _log_mean(negative, shares)


def _log_mean(logarithms: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    terms = [own + math.log(share) for own, share in zip(logarithms, shares, strict=True)]
    return torch.stack(terms).logsumexp(0)
