"""Subsets of the cell-based space on which plain DARTS fails.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, section 3.1 and appendix B.
"""

from __future__ import annotations

from darts.spaces.cnn.edgewise import Operations
from darts.spaces.genotype import PRIMITIVES

_SKIP, _MAX, _AVG = "skip_connect", "max_pool_3x3", "avg_pool_3x3"
_SEP3, _DIL3, _DIL5 = "sep_conv_3x3", "dil_conv_3x3", "dil_conv_5x5"

# What a search on all operations had left on each edge, node by node and input by input.
_S1 = {
    "normal": (
        *((_SKIP, _DIL3), (_SKIP, _DIL5)),
        *((_SKIP, _DIL5), (_SKIP, _SEP3), (_SKIP, _DIL3)),
        *((_MAX, _SKIP), (_SKIP, _SEP3), (_SKIP, _SEP3), (_SKIP, _DIL3)),
        *((_SKIP, _SEP3), (_MAX, _SKIP), (_SKIP, _DIL3), (_DIL3, _DIL5), (_DIL3, _DIL5)),
    ),
    "reduce": (
        *((_MAX, _AVG), (_MAX, _DIL3)),
        *((_MAX, _AVG), (_MAX, _AVG), (_SKIP, _DIL5)),
        *((_MAX, _AVG), (_MAX, _SEP3), (_SKIP, _DIL3), (_SKIP, _DIL5)),
        *((_MAX, _AVG), (_MAX, _AVG), (_SKIP, _DIL5), (_SKIP, _DIL5), (_SKIP, _DIL5)),
    ),
}

SUBSETS: dict[str, Operations] = {
    "all": PRIMITIVES,
    "s1": _S1,
    "s2": ("skip_connect", "sep_conv_3x3"),
    "s3": ("none", "skip_connect", "sep_conv_3x3"),
    "s4": ("noise", "sep_conv_3x3"),
}
