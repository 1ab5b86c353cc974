"""NASWOT: a score of untrained networks from the ReLU units that each sample activates.

References:
    Mellor et al., "Neural Architecture Search without Training", arXiv:2006.04647, equations 1
    and 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from darts.judging.untrained import UntrainedNetwork

_RELUS = (
    torch.ops.aten.relu,
    torch.ops.aten.relu_,
    torch.ops.aten.hardtanh,  # ReLU6
    torch.ops.aten.hardtanh_,
)


def naswot(network: UntrainedNetwork) -> float:
    """Return ``log |det K|`` of the kernel matrix of the samples' activation codes.

    The code of a sample says which ReLU units have a positive output. ``K[i, j]`` is the number of
    units in which the codes of samples i and j of the first batch agree. The score is high if the
    codes differ much. It is ``-inf`` if two samples have the same code, and for a network without
    ReLU units.
    """
    with _CodeRecorder() as recorder:
        network.forward(network.batches[0])
    kernel = agreement_kernel(recorder.codes)
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
        active = code.cpu().double()
        inactive = 1 - active
        agreement = active @ active.T + inactive @ inactive.T
        kernel = agreement if kernel is None else kernel + agreement
    return kernel


class _CodeRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records which outputs of ReLUs are positive, ``(B, units)`` bool per call.

    Some networks call ``torch.relu`` or ``F.relu``, which module hooks would miss.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.codes: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _RELUS:
            self.codes.append((result > 0).flatten(1))
        return result
