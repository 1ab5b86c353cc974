"""The gradient of the alphas.

``first_order`` and ``unrolled`` are callables
``(net, loss_fn, train_batch, valid_batch, optimizer, **options) -> {name: gradient}`` that leave
network, buffers and optimizer exactly as they found them; ``GRADIENTS`` lists the parts that
methods name.
"""

from darts.bilevel.arch_gradient import GRADIENTS, ArchGradient
from darts.bilevel.first_order import first_order
from darts.bilevel.unrolled import PRODUCTS, compare_products, unrolled

__all__ = [
    "GRADIENTS",
    "PRODUCTS",
    "ArchGradient",
    "compare_products",
    "first_order",
    "unrolled",
]
