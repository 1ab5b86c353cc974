"""Scores of networks that need no training, by name.

A score can rank the architectures of a space in reverse, see docs/judging.md. Parameters and MACs
cost almost nothing, so every other score must beat them.

References:
    NASWOT: Mellor et al., "Neural Architecture Search without Training", arXiv:2006.04647,
    equations 1 and 2. ``saliency`` and ``block_features`` cite the papers of the other scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from darts.judging.block_features import expressivity, progressivity, trainability
from darts.judging.saliency import gradient_norm, snip, synflow, zico
from darts.judging.untrained import UntrainedNetwork
from darts.spaces import NetworkBase

BASELINES = ("parameters", "macs")
"""Scores that ``darts.judge`` computes for comparison with every judge."""


def parameters(network: UntrainedNetwork) -> float:
    """Return the number of parameters."""
    return float(network.parameters)


def macs(network: UntrainedNetwork) -> float:
    """Return the multiply-accumulates of a forward pass of one sample."""
    return float(network.macs)


def naswot(network: UntrainedNetwork) -> float:
    """Return ``log |det K|`` of the kernel matrix of the samples' activation codes.

    The code of a sample says which ReLU units have a positive output. ``K[i, j]`` is the number of
    units in which the codes of samples i and j of the first batch agree. The score is high if the
    codes differ much. It is ``-inf`` if two samples have the same code, and for a network without
    ReLU units.
    """
    kernel = agreement_kernel(network.first_pass.codes)
    if kernel is None:
        return -math.inf
    sign, log_determinant = torch.linalg.slogdet(kernel)
    return float(log_determinant) if sign > 0 else -math.inf


def agreement_kernel(codes: list[Tensor]) -> Tensor | None:
    """Return the number of units that agree for each pair of samples, ``(B, B)`` float64.

    Args:
        codes: Which units are active, ``(B, units)`` bool for each ReLU; the result is None if
            there is no ReLU.
    """
    kernel: Tensor | None = None
    for code in codes:
        # Samples a and b agree in the units that are active for both or for neither:
        # units - |a| - |b| + 2 |a and b|. Single precision is exact up to 2^24 units.
        units = code.shape[1]
        active = code.cpu().to(torch.float32 if units <= 2**24 else torch.float64)
        both = (active @ active.T).double()
        count = both.diagonal()
        agreement = units - count[:, None] - count[None, :] + 2 * both
        kernel = agreement if kernel is None else kernel + agreement
    return kernel


@dataclass(frozen=True)
class TrainingFreeScore:
    """A score that is supposed to be larger for better networks.

    Attributes:
        compute: Computes the score; minus infinity is the worst score.
        needs_numbers: Whether it applies only to inputs of numbers, such as images, not to words.
        needs_blocks: Whether it applies only to networks with ``NetworkBase.feature_blocks``.
        batches: Number of batches that it needs.
    """

    compute: Callable[[UntrainedNetwork], float]
    needs_numbers: bool = False
    needs_blocks: bool = False
    batches: int = 1


SCORES: Mapping[str, TrainingFreeScore] = {
    "parameters": TrainingFreeScore(parameters, batches=0),
    "macs": TrainingFreeScore(macs, batches=0),
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
    """Return why a score does not apply to a network, or None if it does.

    Args:
        name: A key of ``SCORES``.
        net: A network of the space.
        has_numbers: Whether the inputs are floating-point numbers.
    """
    score = SCORES[name]
    if score.needs_numbers and not has_numbers:
        return f"{name} needs inputs of numbers, such as images, not words"
    if score.needs_blocks and not net.feature_blocks():
        return f"{name} is not available for space={net.genotype.space}"
    return None


def score_network(network: UntrainedNetwork, names: Iterable[str]) -> dict[str, float]:
    """Return the scores ``names``, keys of ``SCORES``, of a network."""
    return {name: SCORES[name].compute(network) for name in names}
