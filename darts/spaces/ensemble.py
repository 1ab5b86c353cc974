"""An ensemble: several networks whose predictions are averaged.

References:
    Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation
    using Deep Ensembles", arXiv:1612.01474, section 2.4: the mean of the probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.data.targets import CLASSES, NUMBERS
from darts.spaces.network import NetworkBase


class Ensemble(NetworkBase):
    """The weighted mean of the predictions of several networks.

    The members lose their auxiliary heads, which only the training of a single network uses.

    Args:
        members: Networks that take the same inputs and predict the same targets.
        counts: How often each member counts; all positive.
        targets: What a network predicts for each sample, see ``darts.data.targets``. It decides
            what is averaged, see ``mean_outputs``.

    Attributes:
        genotype: The architecture of the first member.

    Shape: a batch of samples -> ``(B, K)``, like each member.
    """

    def __init__(self, members: Sequence[NetworkBase], counts: Sequence[int], targets: str) -> None:
        super().__init__(members[0].genotype)
        self.members = nn.ModuleList(members)
        self.counts, self.targets = tuple(counts), targets
        for member in members:
            member.auxiliary = None

    def forward(self, samples: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Return the outputs, or ``(outputs, None)`` if ``auxiliary``."""
        outputs = [member(samples) for member in self.members]
        mean = mean_outputs(outputs, self.counts, self.targets)
        return (mean, None) if auxiliary else mean


def mean_outputs(outputs: Sequence[Tensor], counts: Sequence[int], targets: str) -> Tensor:
    """Return outputs of which the predictions are the weighted mean of several predictions.

    For classes, it is the logarithm of the mean of the softmax probabilities; for labels, the logit
    of the mean of the sigmoids; for numbers, the mean.

    Args:
        outputs: Outputs ``(B, K)`` of each network.
        counts: Weight of each network.
        targets: See ``darts.data.targets``.

    Returns:
        ``(B, K)``.
    """
    total = sum(counts)
    shares = [count / total for count in counts]
    if targets == NUMBERS:
        return torch.stack([share * own for share, own in zip(shares, outputs, strict=True)]).sum(0)
    if targets == CLASSES:
        return _log_mean([F.log_softmax(own, -1) for own in outputs], shares)
    positive, negative = ([F.logsigmoid(sign * own) for own in outputs] for sign in (1, -1))
    return _log_mean(positive, shares) - _log_mean(negative, shares)


def _log_mean(logarithms: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Return the logarithm of the weighted mean of numbers with the given logarithms."""
    terms = [own + math.log(share) for own, share in zip(logarithms, shares, strict=True)]
    return torch.stack(terms).logsumexp(0)
