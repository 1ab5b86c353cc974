"""Independent sigmoid weights."""

from __future__ import annotations

import math

import torch

from darts.methods.relaxation_deterministic import Sigmoid

ALPHA = torch.tensor([[0.0, 2.0, -3.0], [1.0, -0.5, 0.25]], dtype=torch.float64)
KEPT = torch.tensor([[True, False, True], [True, True, True]])


def test_weights_and_gradients_match_the_formula() -> None:
    alpha = ALPHA.clone().requires_grad_()
    weights = Sigmoid().edge_probabilities(alpha, None)
    values = [[1 / (1 + math.exp(-a)) for a in row] for row in ALPHA.tolist()]
    wanted = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(weights, wanted)
    upstream = torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
    (weights * upstream).sum().backward()
    torch.testing.assert_close(alpha.grad, upstream * wanted * (1 - wanted))


def test_weights_of_an_edge_are_independent() -> None:
    changed = ALPHA.clone()
    changed[0, 1] += 5
    same = Sigmoid().edge_probabilities(changed, None) == Sigmoid().edge_probabilities(ALPHA, None)
    assert same.logical_not().nonzero().tolist() == [[0, 1]]


def test_mask_zeroes_candidates_without_changing_the_others() -> None:
    alpha = ALPHA.clone().requires_grad_()
    weights = Sigmoid().edge_probabilities(alpha, KEPT)
    assert weights.equal(ALPHA.sigmoid().where(KEPT, torch.zeros_like(ALPHA)))
    weights.sum().backward()
    assert alpha.grad is not None
    assert (alpha.grad != 0).equal(KEPT)
