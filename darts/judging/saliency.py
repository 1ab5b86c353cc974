"""Scores of untrained networks from the gradients of their weights.

References:
    Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", arXiv:2101.08134, section 3.1:
    gradient norm, SNIP and SynFlow as sums over all weights of a network.
    Lee et al., "SNIP: Single-shot Network Pruning", arXiv:1810.02340, equation 5.
    Tanaka et al., "Pruning neural networks without any data", arXiv:2006.05467, section 6.
    Li et al., "ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients",
    arXiv:2301.11300, equation 14.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from darts.judging.untrained import UntrainedNetwork


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
    gradients = torch.autograd.grad(output, counted, allow_unused=True)
    pairs = zip(counted, gradients, strict=True)
    total = sum(float((weight.detach() * g).sum()) for weight, g in pairs if g is not None)
    return math.log(total) if total > 0 else -math.inf


def zico(network: UntrainedNetwork) -> float:
    """Return the sum over weight tensors of ``log(sum(mean |gradient| / deviation |gradient|))``.

    Mean and standard deviation are over the batches. The inner sum is over the weights of a tensor
    whose absolute gradients differ between batches; a tensor without such weights is left out.
    """
    per_batch = [network.gradients(number) for number in range(len(network.batches))]
    score = 0.0
    for gradients in zip(*per_batch, strict=True):
        ratio = _sum_of_ratios(torch.stack(gradients).abs())
        if ratio > 0:
            score += math.log(ratio)
    return score


def _sum_of_ratios(values: Tensor) -> float:
    """Return the sum of mean / deviation, over dimension 0, of the entries that vary.

    This is several times faster than with ``Tensor.std``.
    """
    mean = values.mean(0)
    deviation = (values - mean).square_().mean(0).sqrt_()
    # Rounding of the mean can give equal values a tiny deviation.
    constant = (values[1:] == values[0]).all(0).logical_or_(deviation == 0)
    return float((mean / deviation).masked_fill_(constant, 0).sum())
