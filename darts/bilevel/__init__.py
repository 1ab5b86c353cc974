"""The gradient of the alphas.

Each entry of ``GRADIENTS`` is a callable
``(net, loss_fn, train_batch, valid_batch, optimizer, **options) -> {name: gradient}`` that leaves
network, buffers and optimiser exactly as it found them.
"""

from collections.abc import Callable

from torch import Tensor

from darts.bilevel.first_order import first_order
from darts.bilevel.unrolled import PRODUCTS, compare_products, unrolled

GRADIENTS: dict[str, Callable[..., dict[str, Tensor]]] = {
    "first_order": first_order,
    "unrolled": unrolled,
}

__all__ = ["GRADIENTS", "PRODUCTS", "compare_products", "first_order", "unrolled"]
