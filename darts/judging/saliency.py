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

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

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
    net = network.net
    # On the CPU, as some GPUs have no float64. Copies of the tensors replace the network's own,
    # which is much faster than a copy of all its modules.
    weights = {
        name: parameter.detach().cpu().double().abs().requires_grad_()
        for name, parameter in net.named_parameters()
    }
    buffers = {
        name: buffer.cpu().double() if buffer.is_floating_point() else buffer.cpu()
        for name, buffer in net.named_buffers()
    }
    with _identity_norms(net) as statistics:
        inputs = torch.ones(network.example.shape, dtype=torch.float64)
        output = functional_call(net, {**weights, **buffers, **statistics}, (inputs,)).sum()
    counted = [weight for weight in weights.values() if weight.ndim > 1]
    gradients = torch.autograd.grad(output, counted, allow_unused=True)
    pairs = zip(counted, gradients, strict=True)
    total = sum(float((weight.detach() * g).sum()) for weight, g in pairs if g is not None)
    return math.log(total) if total > 0 else -math.inf


@contextlib.contextmanager
def _identity_norms(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Set a network to evaluation mode and epsilons of batch norms to 0; restore them at the end.

    Yields:
        Means of 0 and variances of 1, float64, by the names of the running statistics.
    """
    modes = [(module, module.training) for module in net.modules()]
    norms = [
        (f"{name}." if name else "", module, module.eps)
        for name, module in net.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    statistics: dict[str, Tensor] = {}
    net.eval()
    for prefix, norm, _ in norms:
        norm.eps = 0.0
        if isinstance(norm.running_mean, Tensor) and isinstance(norm.running_var, Tensor):
            size = norm.running_mean.shape
            statistics[prefix + "running_mean"] = torch.zeros(size, dtype=torch.float64)
            statistics[prefix + "running_var"] = torch.ones(size, dtype=torch.float64)
    try:
        yield statistics
    finally:
        for _, norm, eps in norms:
            norm.eps = eps
        for module, training in modes:  # net.train() would set all modules alike
            module.training = training


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
