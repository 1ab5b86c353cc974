"""Terms of regularizers in the losses of weights and alphas, compared with formulas."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_search import context_and_supernet, make_batch
from torch import Tensor

from darts.methods.regularizer import Alignment, Anchor, BetaDecay, Regularizer, ZeroOne, agreement
from darts.spaces import SearchContext
from darts.spaces.cnn import EdgewiseSupernet
from darts.spaces.mixture import Mixture

GENERATOR = torch.Generator().manual_seed(0)


def naive(gradients: Tensor) -> float:
    """Return the mean cosine over all pairs of cells with explicit loops."""
    rows = gradients.flatten(1).tolist()
    cosines = []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            dot = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            lengths = [math.sqrt(sum(a * a for a in row)) for row in (rows[i], rows[j])]
            cosines.append(dot / (lengths[0] * lengths[1]))
    return sum(cosines) / len(cosines)


def test_agreement_is_the_mean_cosine_over_pairs_of_cells() -> None:
    gradients = torch.randn(4, 3, 5, generator=GENERATOR, dtype=torch.float64)
    assert float(agreement(gradients)) == pytest.approx(naive(gradients))
    alike = gradients[:1] * torch.tensor([1.0, 2.0, 0.1])[:, None, None]
    assert float(agreement(alike)) == pytest.approx(1)
    assert float(agreement(torch.stack([gradients[0], -gradients[0]]))) == pytest.approx(-1)
    assert float(agreement(gradients[:1])) == 0


class SmallProblem:
    """A supernet with five cells in float64, a batch and a mixture."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = EdgewiseSupernet(channels=2, cells=5, classes=3, nodes=1).double()
        images, self.labels = make_batch(1, size=6)
        self.images = images.double()
        weights = torch.rand(2, 2, 8, generator=torch.Generator().manual_seed(2)).double()
        self.mixture = Mixture(dict(zip(("normal", "reduce"), weights.softmax(-1), strict=True)))
        self.context = SearchContext(
            None, self.net.candidates, self.net.edges, self.net.counts, epoch=1, epochs=3
        )

    def __call__(self, mixture: Mapping[str, Tensor]) -> Tensor:
        return F.cross_entropy(self.net(self.images, mixture), self.labels)

    def gradient(self, mixture: Mixture) -> dict[str, Tensor]:
        leaves = {group: w.detach().requires_grad_() for group, w in mixture.items()}
        actual = torch.autograd.grad(self(mixture.with_weights(leaves)), list(leaves.values()))
        return dict(zip(leaves, actual, strict=True))

    def exact(self, all_groups: bool) -> list[Tensor]:
        """Return the gradient of the ``Lambda`` of the aligned groups by double backward."""
        leaves = {
            group: w.expand(self.net.counts[group], -1, -1).clone().requires_grad_()
            for group, w in self.mixture.items()
        }
        actual = torch.autograd.grad(
            self(Mixture(leaves)), list(leaves.values()), create_graph=True
        )
        aligned = actual if all_groups else actual[:1]
        total = sum((agreement(gradient) for gradient in aligned), torch.zeros(()))
        return list(torch.autograd.grad(total, self.net.weight_parameters(), allow_unused=True))


def flat(tensors: Any) -> Tensor:
    return torch.cat([t.flatten() for t in tensors if t is not None])


def relative_error(problem: SmallProblem, all_groups: bool, epsilon: float) -> float:
    """Return the error of the term's gradient, relative to the exact gradient."""
    exact = problem.exact(all_groups)
    used = [p for p, g in zip(problem.net.weight_parameters(), exact, strict=True) if g is not None]
    wanted = -0.8 * 0.5 * flat(exact)
    regularizer = Alignment(weight=0.8, epsilon=epsilon, all_groups=all_groups)
    term = regularizer.weight_term(problem.mixture, problem, problem.context)
    actual = flat(torch.autograd.grad(term, used, allow_unused=True, materialize_grads=True))
    return float((actual - wanted).norm() / wanted.norm())


def test_weight_term_has_the_exact_second_order_gradient() -> None:
    """The error falls with the square of the step; much longer steps cross kinks of ReLUs."""
    problem = SmallProblem()
    assert problem.net.counts == {"normal": 3, "reduce": 2}
    errors = [relative_error(problem, True, epsilon) for epsilon in (1e-4, 1e-5)]
    assert errors[0] < 1e-5
    assert errors[1] < errors[0] / 50


def test_only_the_cells_of_the_first_group_are_aligned_by_default() -> None:
    assert relative_error(SmallProblem(), False, 1e-5) < 1e-7


def test_weight_term_is_none_at_the_start_and_for_single_cells() -> None:
    problem = SmallProblem()

    begin = dataclasses.replace(problem.context, epoch=0)
    unused: Any = object()  # has neither loss nor gradient
    assert Alignment().weight_term(problem.mixture, unused, begin) is None
    single = dataclasses.replace(problem.context, counts={"normal": 1, "reduce": 1})
    ones: Any = SimpleNamespace(gradient=lambda _: {g: torch.ones(1, 2, 8) for g in single.counts})
    assert Alignment().weight_term(problem.mixture, ones, single) is None


CONTEXT = dataclasses.replace(context_and_supernet("cnn")[0], epoch=2, epochs=5)
DRAWS = torch.Generator().manual_seed(0)


def alphas_of() -> dict[str, Tensor]:
    """Return alphas of both cells and edge alphas, which regularizers ignore."""
    shapes = {"normal": (14, 8), "reduce": (14, 8), "normal_edges": (14,)}
    return {
        name: torch.randn(shape, generator=DRAWS, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }


def gradients(regularizer: Regularizer, alphas: dict[str, Tensor]) -> list[Tensor]:
    term = regularizer.alpha_term(alphas, CONTEXT)
    actual = torch.autograd.grad(term, list(alphas.values()), allow_unused=True)
    assert actual[2] is None
    return [gradient for gradient in actual[:2] if gradient is not None]


def values(alphas: dict[str, Tensor]) -> list[list[float]]:
    """Return the alphas of all edges of both cells."""
    return [row for cell in ("normal", "reduce") for row in alphas[cell].tolist()]


def test_beta_decay_matches_the_formula_and_its_gradient() -> None:
    alphas = alphas_of()
    regularizer = BetaDecay(weight=25.0, epochs=10)  # the search has 5
    term = regularizer.alpha_term(alphas, CONTEXT)
    rows = [math.log(sum(math.exp(a) for a in row)) for row in values(alphas)]
    assert float(term.detach()) == pytest.approx(25 * 0.2 * sum(rows) / 28)
    for cell, gradient in zip(("normal", "reduce"), gradients(regularizer, alphas), strict=True):
        wanted = 25 * 0.2 * alphas[cell].detach().softmax(1) / 28
        torch.testing.assert_close(gradient, wanted)
    begin = dataclasses.replace(CONTEXT, epoch=0)
    assert regularizer.alpha_term(alphas, begin) == 0


def test_zero_one_matches_the_formula_and_pushes_sigmoids_from_one_half() -> None:
    alphas = alphas_of()
    term = ZeroOne(weight=10.0).alpha_term(alphas, CONTEXT)
    squares = [(1 / (1 + math.exp(-a)) - 0.5) ** 2 for row in values(alphas) for a in row]
    assert float(term.detach()) == pytest.approx(-10 * sum(squares) / 224)
    actual = gradients(ZeroOne(weight=10.0), alphas)
    for cell, gradient in zip(("normal", "reduce"), actual, strict=True):
        s = alphas[cell].detach().sigmoid()
        torch.testing.assert_close(gradient, -10 * 2 * (s - 0.5) * s * (1 - s) / 224)
        # A gradient descent step moves each sigmoid away from one half.
        assert (gradient.sign() == (0.5 - s).sign()).all()


def test_anchor_is_the_kl_divergence_from_the_uniform_distribution() -> None:
    """``KL(Dir(b) || Dir(1))`` in closed form, with log-gamma functions."""
    alphas = alphas_of()
    term = Anchor(weight=0.3).alpha_term(alphas, CONTEXT)
    wanted = 0.0
    for row in values(alphas):
        beta = torch.tensor([a + 1 if a > 0 else math.exp(a) for a in row], dtype=torch.float64)
        wanted += math.lgamma(float(beta.sum())) - math.lgamma(len(row))
        wanted -= sum(math.lgamma(b) for b in beta.tolist())
        expected_logs = torch.special.digamma(beta) - torch.special.digamma(beta.sum())
        wanted += float(((beta - 1) * expected_logs).sum())
    assert float(term.detach()) == pytest.approx(0.3 * wanted)
    # The gradient in closed form: for the concentrations (trigamma), then for the alphas.
    actual = gradients(Anchor(weight=0.3), alphas)
    for cell, gradient in zip(("normal", "reduce"), actual, strict=True):
        alpha = alphas[cell].detach()
        beta = torch.where(alpha > 0, alpha + 1, alpha.exp())
        by_beta = (beta - 1) * torch.polygamma(1, beta)
        by_beta -= (beta - 1).sum(1, keepdim=True) * torch.polygamma(1, beta.sum(1, keepdim=True))
        torch.testing.assert_close(gradient, 0.3 * by_beta * torch.where(alpha > 0, 1, beta))
    # The term is 0 at the anchor.
    flat = {name: torch.zeros_like(alpha) for name, alpha in alphas.items()}
    assert float(Anchor().alpha_term(flat, CONTEXT)) == pytest.approx(0, abs=1e-12)
