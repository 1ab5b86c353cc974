"""Numbers that summarise alphas and genotypes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.analysis.alphas import (
    column_names,
    edge_names,
    entropy,
    genotype_counts,
    margin,
    scalars_of,
)

OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")


def test_edges_are_named_by_source_and_target() -> None:
    assert edge_names([(0, 2), (1, 2), (0, 3)]) == ["0→2", "1→2", "0→3"]
    assert edge_names(()) == []


def test_columns_are_named_where_all_edges_have_the_same_candidates() -> None:
    assert column_names([OPERATIONS, OPERATIONS]) == list(OPERATIONS)
    rows = [OPERATIONS[:2], OPERATIONS[1:3]]
    assert column_names(rows) == ["candidate 0", "candidate 1"]


def test_entropy_of_certainty_is_zero_and_of_ignorance_log_n() -> None:
    p = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    torch.testing.assert_close(entropy(p), torch.tensor([0.0, math.log(4), math.log(2)]))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 9))
def test_entropy_and_margin_stay_within_their_bounds(seed: int, operations: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.softmax(3 * torch.randn(5, operations, generator=generator), dim=-1)
    assert ((entropy(p) >= 0) & (entropy(p) <= math.log(operations) + 1e-6)).all()
    lead = margin(p, none=None)
    assert ((lead >= 0) & (lead <= 1)).all()


def test_none_does_not_compete_for_the_margin() -> None:
    p = torch.tensor([[0.9, 0.06, 0.03, 0.01]])
    torch.testing.assert_close(margin(p), torch.tensor([0.03]))
    torch.testing.assert_close(margin(p, none=None), torch.tensor([0.84]))
    with pytest.raises(ValueError, match="not 1"):
        margin(p[:, :2])


def setting(rows: dict[str, list[tuple[str, ...]]]) -> SimpleNamespace:
    """Of cells of one node, each edge with operations of its own."""
    edges = {cell: [(source, 2) for source in range(len(names))] for cell, names in rows.items()}
    return SimpleNamespace(candidates=rows, edges=edges)


def test_scalars_have_a_tag_for_each_edge_and_operation() -> None:
    p = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]], requires_grad=True)
    names = {"normal": [OPERATIONS] * 2, "reduce": [OPERATIONS] * 2}
    found = scalars_of({"normal": p, "reduce": p.flip(0)}, setting(names))
    assert found["alpha/normal/0→2/none"] == pytest.approx(0.7)
    assert found["alpha/reduce/1→2/skip_connect"] == pytest.approx(0.1)
    assert found["entropy/normal/1→2"] == pytest.approx(math.log(4))
    mean = (found["entropy/normal/0→2"] + found["entropy/normal/1→2"]) / 2
    assert found["entropy/normal/mean"] == pytest.approx(mean)
    assert found["margin/normal/mean"] == pytest.approx(0.0)
    assert len(found) == 2 * (2 * 4 + 2 + 2)
    assert all(type(value) is float for value in found.values())


def test_scalars_take_the_names_of_each_edge_and_refuse_other_columns() -> None:
    p = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    found = scalars_of({"cell": p}, setting({"cell": [OPERATIONS[:2], OPERATIONS[2:]]}))
    assert found["alpha/cell/0→2/skip_connect"] == 0.25
    assert found["alpha/cell/1→2/sep_conv_3x3"] == 0.5
    assert found["margin/cell/mean"] == 0.25  # nothing is known to be none in all rows
    with pytest.raises(ValueError, match="2 columns for 3 operations"):
        scalars_of({"cell": p}, setting({"cell": [OPERATIONS[:3]] * 2}))


def test_two_operations_of_which_one_is_none_have_no_margin() -> None:
    p = torch.tensor([[0.75, 0.25]])
    found = scalars_of({"cell": p}, setting({"cell": [OPERATIONS[:2]]}))
    assert "entropy/cell/mean" in found
    assert "margin/cell/mean" not in found


def test_counts_are_there_even_when_they_are_zero() -> None:
    pairs = {
        "normal": [(0, 2, "skip_connect"), (1, 2, "skip_connect"), (0, 3, "sep_conv_3x3")],
        "reduce": [(0, 2, "none"), (1, 2, "max_pool_3x3")],
    }
    genotype = SimpleNamespace(cells=tuple(pairs), edges=pairs.__getitem__)
    assert genotype_counts(genotype) == {
        "genotype/normal/skip_connect": 2,
        "genotype/normal/none": 0,
        "genotype/reduce/skip_connect": 0,
        "genotype/reduce/none": 1,
    }
    assert genotype_counts(genotype, ["sep_conv_3x3"])["genotype/normal/sep_conv_3x3"] == 1
