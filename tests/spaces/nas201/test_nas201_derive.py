"""Derivation of NAS-Bench-201 genotypes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darts.spaces.nas201 import PRIMITIVES, Genotype, derive

CANDIDATES = {"cell": (PRIMITIVES,) * 6}


def test_the_most_probable_operation_is_derived_including_none() -> None:
    names = ("none", "avg_pool_3x3", "nor_conv_1x1", "none", "skip_connect", "nor_conv_3x3")
    table = torch.full((6, 5), 0.1)
    for edge, name in enumerate(names):
        table[edge, PRIMITIVES.index(name)] = 0.6
    assert derive({"cell": table}, CANDIDATES) == Genotype.from_operations(*names)


def test_ties_go_to_the_lower_column() -> None:
    assert derive({"cell": torch.full((6, 5), 0.2)}, CANDIDATES).count("none") == 6


def test_edges_may_have_different_candidates() -> None:
    rows = [("nor_conv_1x1", "none"), ("avg_pool_3x3", "skip_connect")] * 3
    table = torch.tensor([[0.9, 0.1], [0.2, 0.8]] * 3)
    actual = derive({"cell": table.requires_grad_()}, {"cell": rows})
    assert actual.operations == ("nor_conv_1x1", "skip_connect") * 3


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.zeros(5, 5), r"have shape \(5, 5\), not \(6 edges, 5 operations\)"),
        (torch.zeros(6, 6), r"have shape \(6, 6\), not \(6 edges, 5 operations\)"),
        (torch.zeros(2, 6, 5), "have shape"),
        (torch.full((6, 5), float("nan")), "not finite"),
        (torch.full((6, 5), 1.2), "not within 0 and 1"),
        (torch.full((6, 5), -0.1), "not within 0 and 1"),
    ],
)
def test_invalid_probabilities_are_rejected(table: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        derive({"cell": table}, CANDIDATES)


def test_invalid_groups_and_candidates_are_rejected() -> None:
    table = torch.zeros(6, 5)
    with pytest.raises(ValueError, match=r"probabilities: groups \['normal'\] must be \['cell'\]"):
        derive({"normal": table}, CANDIDATES)
    with pytest.raises(ValueError, match="candidates: groups"):
        derive({"cell": table}, {})
    with pytest.raises(ValueError, match="6 rows of equal length"):
        derive({"cell": table}, {"cell": (PRIMITIVES,) * 5})
    with pytest.raises(ValueError, match="unknown operation 'a'"):
        derive({"cell": table}, {"cell": (tuple("abcde"),) * 6})
