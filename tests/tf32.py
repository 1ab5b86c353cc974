"""TF32 on the CPU: convolutions and products of matrices round their inputs as a GPU does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CONVOLUTIONS = {"convolution", "convolution_backward"}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "matmul"}


def rounded(x: object) -> object:
    """Return float32 numbers rounded to the 10 bits of the mantissa that TF32 keeps."""
    if not isinstance(x, Tensor) or x.dtype != torch.float32:
        return x
    bits = (x.detach().view(torch.int32) + 0x1000) & ~0x1FFF
    return bits.view(torch.float32)


class EmulatedTf32(TorchDispatchMode):
    """Rounds where PyTorch's flags allow it, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        allowed = (name in CONVOLUTIONS and torch.backends.cudnn.allow_tf32) or (
            name in PRODUCTS and torch.backends.cuda.matmul.allow_tf32
        )
        if allowed:
            self.count += 1
            args = tuple(map(rounded, args))
        return func(*args, **(kwargs or {}))
