"""Gradients of the alphas.

``first_order`` and ``unrolled`` have the signature
``(net, loss_fn, train_batch, valid_batch, optimizer, **options) -> {name: gradient}``. They do not
change the network, its buffers or the optimizer. ``GRADIENTS`` is the registry of the components
that methods select with ``bilevel=...``.
"""

from darts.methods.bilevel.arch_gradient import GRADIENTS, ArchGradient, first_order
from darts.methods.bilevel.unrolled import PRODUCTS, compare_products, unrolled

__all__ = ["GRADIENTS", "PRODUCTS", "ArchGradient", "compare_products", "first_order", "unrolled"]
