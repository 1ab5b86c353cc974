"""Gradients of the alphas: the public names of ``darts.methods.bilevel``."""

from darts.methods.bilevel import (
    GRADIENTS,
    PRODUCTS,
    ArchGradient,
    compare_products,
    first_order,
    unrolled,
)

__all__ = ["GRADIENTS", "PRODUCTS", "ArchGradient", "compare_products", "first_order", "unrolled"]
