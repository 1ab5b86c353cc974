"""Subsets of the cell-based space on which plain DARTS fails.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, section 3.1 and appendix B.
"""

from __future__ import annotations

from darts.spaces.cnn.edgewise import Operations
from darts.spaces.genotype import PRIMITIVES

SUBSETS: dict[str, Operations] = {
    "all": PRIMITIVES,
    "s2": ("skip_connect", "sep_conv_3x3"),
    "s3": ("none", "skip_connect", "sep_conv_3x3"),
    "s4": ("noise", "sep_conv_3x3"),
}
