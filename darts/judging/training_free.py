"""Scores of networks that need no training, by name.

A score can rank the architectures of a space in reverse, see docs/judging.md. Parameters and MACs
cost almost nothing, so every other score must beat them.

References:
    Gradient norm, SNIP and SynFlow as sums over all weights: Abdelfattah et al., "Zero-Cost Proxies
    for Lightweight NAS", arXiv:2101.08134, section 3.1. SNIP: Lee et al., arXiv:1810.02340,
    equation 5. SynFlow: Tanaka et al., arXiv:2006.05467, section 6.
    ZiCo: Li et al., "ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients",
    arXiv:2301.11300, equation 14.
    NASWOT: Mellor et al., "Neural Architecture Search without Training", arXiv:2006.04647,
    equations 1 and 2.
    Expressivity, progressivity and trainability: Lee and Ham, "AZ-NAS: Assembling Zero-Cost Proxies
    for Network Architecture Search", arXiv:2403.19232, section 3.2.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.judging.untrained import UntrainedNetwork
from darts.spaces import NetworkBase
from darts.training.cost import count_macs, count_parameters

# Scores that `darts judge` computes for comparison with every judge.
BASELINES = ("parameters", "macs")


def gradient_norm(network: UntrainedNetwork) -> float:
    """Return the sum over weight tensors of the norm of the gradient of the loss.

    The norm is Euclidean; the loss is of the first batch.
    """
    gradients = network.gradients()
    return sum(float(gradient.norm()) for gradient in gradients)


def snip(network: UntrainedNetwork) -> float:
    """Return the sum over all weights of ``|weight * gradient of the first batch's loss|``."""
    gradients = network.gradients()
    pairs = zip(network.weights(), gradients, strict=True)
    return sum(float((weight.detach() * gradient).abs().sum()) for weight, gradient in pairs)


def synflow(network: UntrainedNetwork) -> float:
    """Return the logarithm of the sum over all weights of ``weight * dR/dweight``.

    ``R`` is the sum of the outputs of the network whose weights are replaced by their absolute
    values, for an input of ones. Batch norm is the identity, as in evaluation mode before any
    training. The score depends on no data. It is computed in double precision, since ``R`` grows
    exponentially with the depth. It is ``-inf`` if no weight has an effect on ``R``.
    """
    net = copy.deepcopy(network.net).cpu().double().eval()  # some GPUs have no float64
    for parameter in net.parameters():
        parameter.data.abs_()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.eps = 0.0
    output = net(torch.ones(network.example.shape, dtype=torch.float64)).sum()
    counted = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    gradients = torch.autograd.grad(output, counted, materialize_grads=True)
    pairs = zip(counted, gradients, strict=True)
    total = sum(float((weight.detach() * gradient).sum()) for weight, gradient in pairs)
    return math.log(total) if total > 0 else -math.inf


def zico(network: UntrainedNetwork) -> float:
    """Return the sum over weight tensors of ``log(sum(mean |gradient| / deviation |gradient|))``.

    Mean and standard deviation are over the batches. The inner sum is over the weights of a tensor
    whose absolute gradients differ between batches; a tensor without such weights is left out.
    """
    per_batch = [network.gradients(number) for number in range(len(network.batches))]
    score = 0.0
    for gradients in zip(*per_batch, strict=True):
        values = torch.stack(gradients).abs()
        mean = values.mean(0)
        deviation = (values - mean).square().mean(0).sqrt()  # much faster than torch.std
        # Rounding of the mean can give equal values a tiny deviation.
        constant = (values == values[0]).all(0) | (deviation == 0)
        ratio = float((mean / deviation).masked_fill(constant, 0).sum())
        if ratio > 0:
            score += math.log(ratio)
    return score


def naswot(network: UntrainedNetwork) -> float:
    """Return ``log |det K|`` of the kernel matrix of the samples' activation codes.

    The code of a sample says which ReLU units have a positive output. ``K[i, j]`` is the number of
    units in which the codes of samples i and j of the first batch agree. The score is high if the
    codes differ much. It is ``-inf`` if two samples have the same code, and for a network without
    ReLU units.
    """
    kernel = torch.zeros(1, 1, dtype=torch.float64)
    for code in network.first_pass.codes:  # (B, units) bool for each ReLU
        # Samples a and b agree in the units that are active for both or for neither:
        # units - |a| - |b| + 2 |a and b|. Single precision is exact up to 2^24 units.
        units = code.shape[1]
        active = code.cpu().to(torch.float32 if units <= 2**24 else torch.float64)
        both = (active @ active.T).double()
        count = both.diagonal()
        kernel = kernel + units - count[:, None] - count[None, :] + 2 * both
    sign, log_determinant = torch.linalg.slogdet(kernel)
    return float(log_determinant) if sign > 0 else -math.inf


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
                after, before, signs, retain_graph=True, materialize_grads=True
            )
            norm = _spectral_norm(signs, back)
        norms.append(max(norm, 1e-6))  # a block that passes no gradient on has the worst score
    return sum(2 - norm - 1 / norm for norm in norms) / len(norms) if norms else 0.0


def entropy_of_components(features: Tensor) -> float:
    """Return the entropy of the normalized eigenvalues of the channels' covariance, in nats.

    The eigenvalues are the variances of the principal components. The covariance is over all
    samples and positions of features ``(B, C, ...)``. The entropy of constant features is 0.
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


@dataclass(frozen=True)
class TrainingFreeScore:
    """A score that is supposed to be larger for better networks."""

    compute: Callable[[UntrainedNetwork], float]  # minus infinity is the worst score
    needs_numbers: bool = False  # whether inputs must be numbers, such as images, not words
    needs_blocks: bool = False  # whether networks need NetworkBase.feature_blocks
    batches: int = 1  # number of batches that it needs


SCORES: Mapping[str, TrainingFreeScore] = {
    "parameters": TrainingFreeScore(lambda n: count_parameters(n.net.parameters()), batches=0),
    "macs": TrainingFreeScore(lambda n: count_macs(n.net, n.example), batches=0),
    "gradient_norm": TrainingFreeScore(gradient_norm),
    "snip": TrainingFreeScore(snip),
    "synflow": TrainingFreeScore(synflow, needs_numbers=True, batches=0),
    "zico": TrainingFreeScore(zico, batches=2),
    "naswot": TrainingFreeScore(naswot, needs_numbers=True),
    "expressivity": TrainingFreeScore(expressivity, needs_numbers=True, needs_blocks=True),
    "progressivity": TrainingFreeScore(progressivity, needs_numbers=True, needs_blocks=True),
    "trainability": TrainingFreeScore(trainability, needs_numbers=True, needs_blocks=True),
}


def why_unsupported(name: str, net: NetworkBase, *, has_numbers: bool) -> str | None:
    """Return why a score does not apply to a network, or None if it does."""
    score = SCORES[name]
    if score.needs_numbers and not has_numbers:
        return f"{name} needs inputs of numbers, such as images, not words"
    if score.needs_blocks and not net.feature_blocks():
        return f"{name} is not available for space={net.genotype.space}"
    return None


def score_network(network: UntrainedNetwork, names: Iterable[str]) -> dict[str, float]:
    """Return the scores ``names``, keys of ``SCORES``, of a network."""
    return {name: float(SCORES[name].compute(network)) for name in names}
