"""Candidate sets of the cell-based space; plain DARTS fails on S1 to S4.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, section 3.1 and appendix B.
"""

from __future__ import annotations

from darts.spaces.cnn.edgewise import Operations
from darts.spaces.genotype import PRIMITIVES

_SKIP, _MAX, _AVG = "skip_connect", "max_pool_3x3", "avg_pool_3x3"
_SEP3, _DIL3, _DIL5 = "sep_conv_3x3", "dil_conv_3x3", "dil_conv_5x5"

# The best operations of each edge in a search with all candidates; edges ordered by node and input.
_S1 = {
    "normal": (
        (_SKIP, _DIL3),
        (_SKIP, _DIL5),
        # node 1
        (_SKIP, _DIL5),
        (_SKIP, _SEP3),
        (_SKIP, _DIL3),
        # node 2
        (_MAX, _SKIP),
        (_SKIP, _SEP3),
        (_SKIP, _SEP3),
        (_SKIP, _DIL3),
        # node 3
        (_SKIP, _SEP3),
        (_MAX, _SKIP),
        (_SKIP, _DIL3),
        (_DIL3, _DIL5),
        (_DIL3, _DIL5),
    ),
    "reduce": (
        (_MAX, _AVG),
        (_MAX, _DIL3),
        # node 1
        (_MAX, _AVG),
        (_MAX, _AVG),
        (_SKIP, _DIL5),
        # node 2
        (_MAX, _AVG),
        (_MAX, _SEP3),
        (_SKIP, _DIL3),
        (_SKIP, _DIL5),
        # node 3
        (_MAX, _AVG),
        (_MAX, _AVG),
        (_SKIP, _DIL5),
        (_SKIP, _DIL5),
        (_SKIP, _DIL5),
    ),
}

CANDIDATE_SETS: dict[str, Operations] = {
    "all": PRIMITIVES,
    "s1": _S1,
    "s2": ("skip_connect", "sep_conv_3x3"),
    "s3": ("none", "skip_connect", "sep_conv_3x3"),
    "s4": ("noise", "sep_conv_3x3"),
}
"""Candidates by name."""
