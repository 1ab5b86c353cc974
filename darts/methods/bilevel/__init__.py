"""Gradients of the alphas.

A search uses a component of the registry ``GRADIENTS``, which its method selects with
``bilevel=...``; it calls ``ArchGradient.gradient(GradientInputs(...))``. For programs without a
configuration, the functions ``first_order`` and ``unrolled`` compute the same. Their signature is
``(net, loss_fn, train_batch, valid_batch, optimizer, **options) -> {name: gradient}``. The network,
its buffers and the optimizer do not change.
"""

from darts.methods.bilevel.arch_gradient import GRADIENTS, ArchGradient, first_order
from darts.methods.bilevel.unrolled import PRODUCTS, compare_products, unrolled

__all__ = ["GRADIENTS", "PRODUCTS", "ArchGradient", "compare_products", "first_order", "unrolled"]
