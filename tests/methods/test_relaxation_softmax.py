"""Softmax over the operations of each edge."""

from __future__ import annotations

import math

import torch

from darts.methods.relaxation import RELAXATIONS
from darts.methods.relaxation_softmax import Softmax
from darts.spaces import SearchContext
from darts.spaces.cnn import Cnn


def alphas() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "normal": torch.randn(14, 8, generator=draw, dtype=torch.float64),
        "reduce": torch.randn(5, 3, generator=draw, dtype=torch.float64),
    }


def softmax(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Mixing weights of a supernet with these alphas."""
    candidates = {name: (("operation",) * a.shape[1],) * len(a) for name, a in given.items()}
    context = SearchContext(Cnn(), candidates, edges={}, counts={})
    for weights in (Softmax().mixture(given, context), Softmax().judged(given, context)):
        expected = Softmax().expected(given, context)
        assert all(torch.equal(weights[name], expected[name]) for name in given)
    return dict(weights)


def test_it_is_equation_two_of_the_paper() -> None:
    given = alphas()
    weights = softmax(given)
    assert list(weights) == ["normal", "reduce"]
    for name, table in given.items():
        for row, out in zip(table.tolist(), weights[name].tolist(), strict=True):
            total = sum(math.exp(value) for value in row)
            torch.testing.assert_close(
                torch.tensor(out), torch.tensor([math.exp(value) / total for value in row])
            )
            assert math.isclose(sum(out), 1)


def test_each_edge_stands_for_itself() -> None:
    given = alphas()
    before = softmax(given)["normal"]
    given["normal"][3] += torch.arange(8)
    given["normal"][5] += 100  # the same for all of an edge: no change
    changed = (softmax(given)["normal"] - before).abs().amax(1) > 1e-9
    assert changed.nonzero().flatten().tolist() == [3]


def test_large_alphas_do_not_overflow_and_the_given_ones_are_left_alone() -> None:
    given = {"normal": torch.tensor([[1e4, 0.0], [-1e4, 0.0]])}
    assert softmax(given)["normal"].tolist() == [[1, 0], [0, 1]]
    assert given["normal"].tolist() == [[1e4, 0.0], [-1e4, 0.0]]


def test_gradients_flow_to_the_alphas() -> None:
    given = {name: alpha.requires_grad_() for name, alpha in alphas().items()}
    weights = softmax(given)["normal"]
    found = torch.autograd.grad(weights[2, 1], given["normal"])[0]
    p = weights[2].detach()
    wanted = torch.zeros(14, 8, dtype=torch.float64)
    wanted[2] = p[1] * (torch.eye(8, dtype=torch.float64)[1] - p)
    torch.testing.assert_close(found, wanted)


def test_the_registry_knows_it() -> None:
    assert RELAXATIONS["softmax"] is Softmax
