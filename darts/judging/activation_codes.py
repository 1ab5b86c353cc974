"""NASWOT: a score of untrained networks from the ReLU units that each sample activates.

References:
    Mellor et al., "Neural Architecture Search without Training", arXiv:2006.04647, equations 1
    and 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from darts.judging.untrained import UntrainedNetwork


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
