"""Genotypes that no point of their space encodes."""

from __future__ import annotations

import pytest

from darts.spaces import cnn, macro
from darts.spaces.genotype import Genotype


def test_genotypes_of_other_candidates_or_depths_are_rejected() -> None:
    edges = tuple(("max_pool_3x3", source) for _ in range(4) for source in (0, 1))
    pools = Genotype(edges, (2, 3, 4, 5), edges, (2, 3, 4, 5))
    message = "max_pool_3x3 is not a candidate of the edge from 0 to 2 of the normal cell"
    with pytest.raises(ValueError, match=message):
        cnn.Cnn(candidates="s2").encode(pools)
    with pytest.raises(ValueError, match=r"have 1, 1, 1 blocks, not 2, 2, 2; set space\.cells=1"):
        macro.Macro(cells=2).encode(macro.Genotype(("mb_k3_e3",) * 3))


def test_cells_with_repeated_sources_or_unused_nodes_are_rejected() -> None:
    twice = tuple(("skip_connect", 0) for _ in range(8))
    fine = tuple(("skip_connect", source) for _ in range(4) for source in (0, 1))
    nodes = (2, 3, 4, 5)
    space = cnn.Cnn()
    with pytest.raises(ValueError, match="node 2 of the normal cell reads state 0 twice"):
        space.encode(Genotype(twice, nodes, fine, nodes))
    with pytest.raises(ValueError, match="the reduce cell must have 4 nodes and concatenate all"):
        space.encode(Genotype(fine, nodes, fine, (2, 3)))
