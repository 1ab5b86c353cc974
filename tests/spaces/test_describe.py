"""Display names of cells and states, and differences of genotypes."""

from __future__ import annotations

import pytest

from darts.spaces import Genotype, nas201
from darts.spaces.describe import cell_name, difference, state_name

V2 = Genotype((("none", 0), ("none", 1)), (2,), (("skip_connect", 1), ("none", 1)), (2,))


def test_names_of_states_and_cells() -> None:
    assert [state_name(state) for state in range(4)] == ["c_{k-2}", "c_{k-1}", "node 0", "node 1"]
    assert [state_name(state, 1) for state in range(2)] == ["node 0", "node 1"]
    assert cell_name(V2, "reduce") == "reduce cell"
    assert cell_name(nas201.Genotype.from_index(0), "cell") == "cell"


def test_difference_rejects_genotypes_of_different_spaces() -> None:
    with pytest.raises(ValueError, match="one has the cells normal, reduce, the other cell") as e:
        difference(V2, nas201.Genotype.from_index(0))
    assert "\n" not in str(e.value)
