"""Terms of regularizers in a weight step are computed in float32, whatever the precision is."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_search import make_batch, make_searcher
from torch import Tensor

from darts.searching.mixture_loss import SupernetMixtureLoss
from darts.searching.mixtures import alphas_of


def weight_gradient(precision: str, weight: float) -> Tensor:
    """Return the gradient of a weight step of Lambda-DARTS in the last of two epochs."""
    torch.manual_seed(0)
    searcher = make_searcher(
        "method=lambda_darts",
        "space.cells=5",
        "epochs=2",
        f"precision={precision}",
        f"regularizer.weight={weight}",
        "optimizer.lr=1",
        "optimizer.lr_min=1",
        "optimizer.momentum=0",
        "optimizer.weight_decay=0",
        "optimizer.clip=0",
    )
    searcher.begin_epoch(1)
    before = [parameter.detach().clone() for parameter in searcher.net.weight_parameters()]
    searcher.weight_step(make_batch(0))
    after = searcher.net.weight_parameters()
    return torch.cat([(a - b.detach()).flatten() for a, b in zip(before, after, strict=True)])


def test_a_finite_difference_is_the_same_in_bf16() -> None:
    """In 16 bits, the difference of two losses 1e-4 apart would be noise."""
    expected = weight_gradient("fp32", 0.125) - weight_gradient("fp32", 0.0)
    actual = weight_gradient("bf16", 0.125) - weight_gradient("bf16", 0.0)
    assert float(expected.norm()) > 1e-3
    assert float((actual - expected).norm()) < 0.05 * float(expected.norm())


def test_the_loss_of_a_mixture_has_no_side_effects_and_the_gradient_of_autograd() -> None:
    searcher = make_searcher("space.cells=3", "space.channels=2")
    searcher.begin_epoch(0)
    loss = SupernetMixtureLoss(
        searcher.net, searcher.objective, searcher.ranks, make_batch(0), "fp32"
    )
    mixture = searcher.relaxation.mixture(alphas_of(searcher.net), searcher.context)
    mixture = mixture.with_weights({g: w.detach().requires_grad_() for g, w in mixture.items()})
    before = copy.deepcopy(searcher.net.state_dict())
    with loss.evaluating():
        assert not searcher.net.training
        evaluated = loss.value(mixture)
    assert searcher.net.training
    value = loss(mixture)
    gradient = loss.gradient(mixture)
    expected = torch.autograd.grad(value, list(mixture.values()), retain_graph=True)
    for actual, wanted in zip(gradient.values(), expected, strict=True):
        torch.testing.assert_close(actual, wanted)
    weights = searcher.net.weight_parameters()
    assert any(g is not None for g in torch.autograd.grad(value, weights, allow_unused=True))
    assert loss.value(mixture) == pytest.approx(value.item())
    assert evaluated != pytest.approx(value.item())  # running statistics instead of the batch's
    after = searcher.net.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
