"""Recording of the ReLU units that each sample of a forward pass activates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

_RELUS = (
    torch.ops.aten.relu,
    torch.ops.aten.relu_,
    torch.ops.aten.hardtanh,  # ReLU6
    torch.ops.aten.hardtanh_,
)


class CodeRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records which outputs of ReLUs are positive while it is active.

    Some networks call ``torch.relu`` or ``F.relu``, which module hooks would miss.

    Attributes:
        codes: ``(B, units)`` bool per call of a ReLU.
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
