"""Softmax over the operations of each edge."""

from __future__ import annotations

import math

import torch

from darts.methods.relaxation import RELAXATIONS
from darts.methods.relaxation_deterministic import Softmax
from darts.spaces import SearchContext
from darts.spaces.cnn import Cnn


def alphas() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "normal": torch.randn(14, 8, generator=generator, dtype=torch.float64),
        "reduce": torch.randn(5, 3, generator=generator, dtype=torch.float64),
    }


def softmax(by_group: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return mixing weights; sampled weights, mean weights and probabilities must agree."""
    candidates = {name: (("operation",) * a.shape[1],) * len(a) for name, a in by_group.items()}
    context = SearchContext(Cnn(), candidates, edges={}, counts={})
    for weights in (
        Softmax().mixture(by_group, context),
        Softmax().mean_mixture(by_group, context),
    ):
        expected = Softmax().probabilities(by_group, context)
        assert all(torch.equal(weights[name], expected[name]) for name in by_group)
    return dict(weights)


def test_weights_match_equation_two_of_the_paper() -> None:
    by_group = alphas()
    weights = softmax(by_group)
    assert list(weights) == ["normal", "reduce"]
    for name, table in by_group.items():
        for row, out in zip(table.tolist(), weights[name].tolist(), strict=True):
            total = sum(math.exp(value) for value in row)
            torch.testing.assert_close(
                torch.tensor(out), torch.tensor([math.exp(value) / total for value in row])
            )
            assert math.isclose(sum(out), 1)


def test_edges_are_normalized_independently() -> None:
    by_group = alphas()
    before = softmax(by_group)["normal"]
    by_group["normal"][3] += torch.arange(8)
    by_group["normal"][5] += 100  # adding a constant to an edge changes nothing
    changed = (softmax(by_group)["normal"] - before).abs().amax(1) > 1e-9
    assert changed.nonzero().flatten().tolist() == [3]


def test_large_alphas_do_not_overflow_and_are_not_modified() -> None:
    by_group = {"normal": torch.tensor([[1e4, 0.0], [-1e4, 0.0]])}
    assert softmax(by_group)["normal"].tolist() == [[1, 0], [0, 1]]
    assert by_group["normal"].tolist() == [[1e4, 0.0], [-1e4, 0.0]]


def test_alphas_get_the_softmax_gradient() -> None:
    by_group = {name: alpha.requires_grad_() for name, alpha in alphas().items()}
    weights = softmax(by_group)["normal"]
    actual = torch.autograd.grad(weights[2, 1], by_group["normal"])[0]
    p = weights[2].detach()
    wanted = torch.zeros(14, 8, dtype=torch.float64)
    wanted[2] = p[1] * (torch.eye(8, dtype=torch.float64)[1] - p)
    torch.testing.assert_close(actual, wanted)


def test_softmax_is_registered() -> None:
    assert RELAXATIONS["softmax"] is Softmax
