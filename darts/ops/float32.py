"""How GPUs multiply float32 numbers: exactly, or rounded to TensorFloat-32 (TF32).

TF32 keeps 10 of the 23 bits of a mantissa in products of matrices and in convolutions. By default,
PyTorch allows it in convolutions. Training does not suffer, but a finite difference of two losses
or gradients then consists mostly of rounding errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Allow or forbid TF32 in a block, in the whole process."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = tf32
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Compute in true float32 in a block: neither TF32 nor the types of an outer autocast.

    The block must include the backward pass. Devices without autocast, such as ``meta``, have no
    types to undo.
    """
    has_autocast = torch.amp.is_autocast_available(device.type)
    autocast = torch.autocast(device.type, enabled=False) if has_autocast else nullcontext()
    with float32_products(tf32=False), autocast:
        yield
