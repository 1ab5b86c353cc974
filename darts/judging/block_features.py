"""Scores of untrained networks from the outputs of their blocks, ``NetworkBase.feature_blocks``.

References:
    Lee and Ham, "AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search",
    arXiv:2403.19232, section 3.2: expressivity, progressivity and trainability.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.judging.untrained import UntrainedNetwork


def expressivity(network: UntrainedNetwork) -> float:
    """Return the sum over blocks of the ``entropy_of_components`` of their outputs, in nats.

    It is high if the features use all channels equally.
    """
    return sum(_entropies(network))


def progressivity(network: UntrainedNetwork) -> float:
    """Return the smallest increase of ``entropy_of_components`` from a block to the next, in nats.

    It is 0 if there are fewer than two blocks.
    """
    entropies = _entropies(network)
    return min((b - a for a, b in itertools.pairwise(entropies)), default=0.0)


def trainability(network: UntrainedNetwork) -> float:
    """Return the mean over blocks of ``2 - s - 1 / s``, at most 0.

    ``s`` is the spectral norm of the Jacobian of a block's output channels with respect to the
    output channels of the block before, averaged over samples and positions. If it is 1, gradients
    neither vanish nor explode. Random signs as gradients of the block's output estimate the
    average. The score is 0 if there are fewer than two blocks.
    """
    norms = []
    for before, after in itertools.pairwise(network.first_pass.block_outputs):
        norm = 0.0
        if before.requires_grad and after.requires_grad:  # False for constant outputs
            signs = network.random_signs(after)
            (back,) = torch.autograd.grad(
                after, before, signs, retain_graph=True, allow_unused=True
            )
            norm = 0.0 if back is None else _spectral_norm(signs, back)
        norms.append(max(norm, 1e-6))  # a block that passes no gradient on has the worst score
    return sum(2 - norm - 1 / norm for norm in norms) / len(norms) if norms else 0.0


def entropy_of_components(features: Tensor) -> float:
    """Return the entropy of the normalized eigenvalues of the channels' covariance, in nats.

    The eigenvalues are the variances of the principal components. The covariance is over all
    samples and positions. The entropy of constant features is 0.

    Args:
        features: ``(B, C, ...)``.
    """
    rows = features.detach().transpose(0, 1).flatten(1).cpu().double()  # (C, samples and positions)
    rows = rows - rows.mean(1, keepdim=True)
    eigenvalues = torch.linalg.eigvalsh(rows @ rows.T / rows.shape[1]).clamp_min(0)
    total = eigenvalues.sum()
    if not total > 0:
        return 0.0
    return float(torch.special.entr(eigenvalues / total).sum())


def _entropies(network: UntrainedNetwork) -> list[float]:
    return [entropy_of_components(output) for output in network.first_pass.block_outputs]


def _spectral_norm(signs: Tensor, back: Tensor) -> float:
    """Return the spectral norm of the mean outer product of two gradients, ``(C2, C1)``.

    They are with respect to the output of the block, ``(B, C2, ...)``, and of the block before,
    ``(B, C1, ...)``.
    """
    if back.shape[2:] != signs.shape[2:]:
        # All positions that belong to one output position are summed and divided by the square
        # root of their number, which keeps the norm.
        ratio = back[0, 0].numel() / signs[0, 0].numel()
        back = F.adaptive_avg_pool2d(back, (signs.shape[2], signs.shape[3])) * ratio**0.5
    after = signs.transpose(0, 1).flatten(1).cpu().double()
    before = back.transpose(0, 1).flatten(1).cpu().double()
    return float(torch.linalg.matrix_norm(after @ before.T / after.shape[1], 2))
