"""Options of every relaxation: edge weights, auxiliary skip connections and masks."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from tiny_search import context_and_supernet, make_batch
from torch import Tensor

from darts.methods.relaxation import RELAXATIONS, Sigmoid, Softmax, edge_group
from darts.spaces import SPACES, SearchContext

CONTEXT, _ = context_and_supernet("cnn")
GENERATOR = torch.Generator().manual_seed(0)


def alphas_of(context: SearchContext) -> dict[str, Tensor]:
    """Return non-uniform alphas in float64, including those of edges."""
    alphas = {}
    for group, rows in context.candidates.items():
        alphas[group] = torch.randn(len(rows), len(rows[0]), generator=GENERATOR).double()
        alphas[edge_group(group)] = torch.randn(len(rows), generator=GENERATOR).double()
    return {name: alpha.requires_grad_() for name, alpha in alphas.items()}


def test_edge_weights_into_a_node_sum_to_one() -> None:
    for space, entering in (("cnn", [2, 3, 4, 5]), ("nas201", [1, 2, 3])):
        context, _ = context_and_supernet(space)
        alphas = alphas_of(context)
        mixture = Softmax(edge_normalization=True).mixture(alphas, context)
        for group in context.candidates:
            raw = alphas[edge_group(group)].tolist()
            first = 0
            for count in entering:  # edges are sorted by target node
                powers = [math.exp(a) for a in raw[first : first + count]]
                wanted = torch.tensor([p / sum(powers) for p in powers], dtype=torch.float64)
                actual = mixture.bypass[group][first : first + count]
                torch.testing.assert_close(actual, wanted)
                assert float(actual.detach().sum()) == pytest.approx(1)
                # The weights of the operations of an edge sum to the weight of the edge.
                jacobian = torch.diag(wanted) - wanted.outer(wanted)
                for weights in (mixture.bypass[group], mixture[group].sum(1)):
                    for row, weight in enumerate(weights[first : first + count]):
                        (gradient,) = torch.autograd.grad(
                            weight, alphas[edge_group(group)], retain_graph=True
                        )
                        own = gradient[first : first + count]
                        torch.testing.assert_close(own, jacobian[row])
                first += count
            assert first == len(raw)


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "dirichlet", "concrete", "gumbel"])
def test_mixing_weights_are_edge_weight_times_operation_weight(name: str) -> None:
    relaxation = RELAXATIONS[name]()
    with_edges = RELAXATIONS[name](edge_normalization=True)
    alphas = alphas_of(CONTEXT)
    torch.manual_seed(1)
    plain = relaxation.mixture(alphas, CONTEXT)
    torch.manual_seed(1)
    weighted = with_edges.mixture(alphas, CONTEXT)
    for group in CONTEXT.candidates:
        edges = weighted.bypass[group]
        torch.testing.assert_close(weighted[group], plain[group] * edges[:, None])
        expected = with_edges.probabilities(alphas, CONTEXT)[group]
        own = relaxation.operation_probabilities(alphas[group], None)
        torch.testing.assert_close(expected, own * edges[:, None])
    assert plain.bypass is None


def test_edge_alphas_weight_the_bypassed_channels() -> None:
    """The output depends on the edge alphas even if all operations have weight 0."""
    torch.manual_seed(0)
    space = SPACES["nas201"](channels=4, cells=1)
    net = space.supernet(classes=3, in_channels=3, partial=2)
    relaxation = Softmax(partial=2, edge_normalization=True)
    relaxation.prepare(net)
    assert net.alphas["cell_edges"].shape == (6,)
    assert id(net.alphas["cell_edges"]) not in {id(p) for p in net.weight_parameters()}
    context = SearchContext.from_supernet(space, net)
    images, _ = make_batch(0)
    base = net(images, relaxation.mixture(net.alphas, context)).detach()
    nothing = {"cell": torch.zeros(6, 5)}
    outputs = []
    for move in (0.0, 2.0):
        with torch.no_grad():
            net.alphas["cell_edges"][1] += move
        mixture = relaxation.mixture(net.alphas, context).with_weights(nothing)
        outputs.append(net(images, mixture))
    assert not torch.allclose(*outputs, atol=1e-4)
    assert not torch.allclose(base, outputs[0], atol=1e-4)


def test_auxiliary_skip_adds_a_column_to_the_mixing_weights() -> None:
    alphas = alphas_of(CONTEXT)
    relaxation = Softmax(auxiliary_skip=0.8)
    plain = Softmax().mixture(alphas, CONTEXT)
    mixture = relaxation.mixture(alphas, dataclasses.replace(CONTEXT, epoch=1, epochs=4))
    for group in CONTEXT.candidates:
        assert mixture[group].shape == (14, 9)
        assert mixture[group][:, :8].equal(plain[group])
        assert mixture[group][:, 8].tolist() == pytest.approx([0.6] * 14)
        # The auxiliary skip is not a candidate and has no probability.
        assert relaxation.probabilities(alphas, CONTEXT)[group].shape == (14, 8)
    weighted = dataclasses.replace(relaxation, edge_normalization=True).mixture(alphas, CONTEXT)
    torch.testing.assert_close(weighted["normal"][:, 8], 0.8 * weighted.bypass["normal"])


@pytest.mark.parametrize(
    ("decay", "values"),
    [
        ("linear", [2.0, 1.5, 1.0, 0.04]),
        ("constant", [2.0] * 4),
        ("cosine", [2.0, 1 + math.cos(math.pi / 4), 1.0, 1 + math.cos(0.98 * math.pi)]),
    ],
)
def test_auxiliary_weight_follows_its_schedule(decay: str, values: list[float]) -> None:
    relaxation = Softmax(auxiliary_skip=2.0, auxiliary_decay=decay)
    actual = [relaxation.auxiliary_weight(progress) for progress in (0, 0.25, 0.5, 0.98)]
    assert actual == pytest.approx(values)


def random_mask() -> Tensor:
    kept = torch.rand(14, 8, generator=torch.Generator().manual_seed(3)) < 0.6
    kept[:, 4] = True
    kept[5] = False  # an edge without candidates
    return kept


@pytest.mark.parametrize("masked", [False, True])
def test_softmax_and_its_gradient_match_equation_two_of_the_paper(masked: bool) -> None:
    alpha = torch.randn(14, 8, generator=GENERATOR).double().requires_grad_()
    kept = random_mask() if masked else torch.ones(14, 8, dtype=torch.bool)
    weights = Softmax().operation_probabilities(alpha, kept if masked else None)
    for row, mask, out in zip(alpha.tolist(), kept.tolist(), weights.tolist(), strict=True):
        powers = [math.exp(a) if present else 0.0 for a, present in zip(row, mask, strict=True)]
        assert out == pytest.approx([p / (sum(powers) or 1) for p in powers])
    p = weights[2].detach()
    wanted = torch.zeros(14, 8).double()
    wanted[2] = p[4] * (torch.eye(8)[4].double() - p)
    torch.testing.assert_close(torch.autograd.grad(weights[2, 4], alpha)[0], wanted)
    large = torch.tensor([[1e4, 0.0], [-1e4, 0.0]])
    assert Softmax().operation_probabilities(large, None).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("options", [{}, {"edge_normalization": True, "auxiliary_skip": 1.0}])
@pytest.mark.parametrize("name", ["softmax", "sigmoid", "dirichlet", "concrete", "gumbel"])
def test_masked_candidates_have_zero_weight_and_gradient(
    name: str, options: dict[str, Any]
) -> None:
    relaxation = RELAXATIONS[name](**options)
    kept = random_mask()
    context = dataclasses.replace(CONTEXT, masks={"normal": kept})
    alphas = alphas_of(context)
    torch.manual_seed(2)
    for mixture in (relaxation.mixture(alphas, context), relaxation.mean_mixture(alphas, context)):
        weights = mixture["normal"][:, :8]
        assert not weights[~kept].any()
        assert "reduce" not in mixture.active or name == "gumbel"
        active = mixture.active["normal"]
        assert not active[:, :8][~kept].any()
        assert active[:, 8:].all()  # the auxiliary skip always runs
        if name != "gumbel":
            assert active[:, :8].equal(kept)
    expected = relaxation.probabilities(alphas, context)["normal"]
    assert not expected[~kept].any()
    if name != "sigmoid" and not options:
        torch.testing.assert_close(expected.sum(1), kept.any(1).double())
    factors = torch.rand(14, 8, generator=GENERATOR).double()
    for weights in (expected, relaxation.mixture(alphas, context)["normal"][:, :8]):
        alphas["normal"].grad = None
        (weights * factors).sum().backward(retain_graph=True)
        gradient = alphas["normal"].grad
        assert gradient.isfinite().all()
        assert (gradient[~kept].abs() < 1e-10).all()
        assert gradient[kept].any()


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "dirichlet", "concrete", "gumbel"])
def test_mean_mixture_and_probabilities_are_deterministic(name: str) -> None:
    relaxation = RELAXATIONS[name]()
    alphas = alphas_of(CONTEXT)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = relaxation.mean_mixture(alphas, CONTEXT), relaxation.probabilities(alphas, CONTEXT)
    assert torch.get_rng_state().equal(state)
    again = relaxation.mean_mixture(alphas, CONTEXT), relaxation.probabilities(alphas, CONTEXT)
    for a, b in zip(first, again, strict=True):
        assert all(a[group].equal(b[group]) for group in CONTEXT.candidates)
    before = copy.deepcopy(alphas)
    relaxation.mixture(alphas, CONTEXT)
    assert all(alphas[key].equal(before[key]) for key in alphas)


def test_sigmoid_and_its_gradient_match_the_formula_and_keep_edges_independent() -> None:
    alpha = torch.tensor([[0.0, 2.0, -3.0], [1.0, -0.5, 0.25]]).double().requires_grad_()
    weights = Sigmoid().operation_probabilities(alpha, None)
    values = [[1 / (1 + math.exp(-a)) for a in row] for row in alpha.tolist()]
    wanted = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(weights, wanted)
    upstream = torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
    (weights * upstream).sum().backward()
    torch.testing.assert_close(alpha.grad, upstream * wanted * (1 - wanted))
    kept = torch.tensor([[True, False, True], [True, True, True]])
    assert Sigmoid().operation_probabilities(alpha, kept).equal(weights * kept)
