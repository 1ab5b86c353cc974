"""Gradients of the alphas: the public functions of ``darts.methods.bilevel``."""

from darts.methods.bilevel import PRODUCTS, compare_products, first_order, unrolled

__all__ = ["PRODUCTS", "compare_products", "first_order", "unrolled"]
