"""Candidates of the edges of a supernet cell, and the candidate sets on which plain DARTS fails.

References:
    Zela et al., arXiv:1909.09656, section 3.1 and appendix B: the sets S1 to S4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from darts.spaces.deriving import check_candidates
from darts.spaces.genotype import CELLS, PRIMITIVES, Genotype, all_edges

# The same candidates for all edges, or the candidates of each edge by group.
Operations: TypeAlias = Sequence[str] | Mapping[str, Sequence[Sequence[str]]]


def candidates_of(operations: Operations, nodes: int) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return the candidates of each edge by group."""
    if not isinstance(operations, Mapping):
        return dict.fromkeys(CELLS, (tuple(operations),) * len(all_edges(nodes)))
    return {group: tuple(map(tuple, operations[group])) for group in CELLS}


_SKIP, _MAX, _AVG = "skip_connect", "max_pool_3x3", "avg_pool_3x3"
_SEP3, _DIL3, _DIL5 = "sep_conv_3x3", "dil_conv_3x3", "dil_conv_5x5"

# The two best operations of each edge in a search with all candidates; one line per node.
# fmt: off
_S1 = {
    "normal": (
        (_SKIP, _DIL3), (_SKIP, _DIL5),
        (_SKIP, _DIL5), (_SKIP, _SEP3), (_SKIP, _DIL3),
        (_MAX, _SKIP), (_SKIP, _SEP3), (_SKIP, _SEP3), (_SKIP, _DIL3),
        (_SKIP, _SEP3), (_MAX, _SKIP), (_SKIP, _DIL3), (_DIL3, _DIL5), (_DIL3, _DIL5),
    ),
    "reduce": (
        (_MAX, _AVG), (_MAX, _DIL3),
        (_MAX, _AVG), (_MAX, _AVG), (_SKIP, _DIL5),
        (_MAX, _AVG), (_MAX, _SEP3), (_SKIP, _DIL3), (_SKIP, _DIL5),
        (_MAX, _AVG), (_MAX, _AVG), (_SKIP, _DIL5), (_SKIP, _DIL5), (_SKIP, _DIL5),
    ),
}
# fmt: on

# The candidate sets by name.
CANDIDATE_SETS: dict[str, Operations] = {
    "all": PRIMITIVES,
    "s1": _S1,
    "s2": ("skip_connect", "sep_conv_3x3"),
    "s3": ("none", "skip_connect", "sep_conv_3x3"),
    "s4": ("noise", "sep_conv_3x3"),
}


def candidate_operations(value: object) -> Operations:
    """Return the operations that ``space.candidates``, a name or a list, selects."""
    if isinstance(value, str):
        if value not in CANDIDATE_SETS:
            names = ", ".join(CANDIDATE_SETS)
            raise ValueError(
                f"space.candidates={value!r} is unknown; choose from {names}, or list operations: "
                "space.candidates=[sep_conv_3x3,skip_connect]"
            )
        return CANDIDATE_SETS[value]
    return check_candidates(value, Genotype.vocabulary)
