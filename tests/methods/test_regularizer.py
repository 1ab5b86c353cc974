"""Regularizers and smooth perturbations, compared with formulas."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_search import context_and_supernet, make_batch
from torch import Tensor

from darts.methods.perturbation import Adversarial, RandomSmoothing, perturb, uniform_noise
from darts.methods.regularizer import Alignment, Anchor, BetaDecay, Regularizer, ZeroOne, agreement
from darts.spaces import SearchContext
from darts.spaces.cnn import EdgewiseSupernet
from darts.spaces.mixture import Mixture

GENERATOR = torch.Generator().manual_seed(0)


def test_agreement_is_the_mean_cosine_over_pairs_of_cells() -> None:
    gradients = torch.randn(4, 3, 5, generator=GENERATOR, dtype=torch.float64)
    pairs = itertools.combinations(gradients.flatten(1), 2)
    cosines = torch.stack([F.cosine_similarity(a, b, dim=0) for a, b in pairs])
    assert float(agreement(gradients)) == pytest.approx(float(cosines.mean()))
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
        loss, sources = self(Mixture(leaves)), list(leaves.values())
        actual = torch.autograd.grad(loss, sources, create_graph=True)
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


NOISE = torch.Generator().manual_seed(0)


def mixture_of(**options: Any) -> Mixture:
    """Return a mixture whose edges have different sums, as with edge weights."""
    weights = torch.rand(6, 5, generator=NOISE).double()
    sums = torch.tensor([1.0, 1.0, 0.5, 2.0, 1e-3, 1.0]).double()
    return Mixture({"cell": weights / weights.sum(1, keepdim=True) * sums[:, None]}, **options)


NO_LOSS: Any = object()  # random smoothing needs no loss


class QuadraticLoss:
    """The loss ``g w + curvature w^2``; it records its calls and in which mode they are made."""

    def __init__(self, gradient_value: Tensor, curvature: float = 0.0) -> None:
        self.gradient_value, self.curvature = gradient_value, curvature
        self.is_evaluating = False
        self.mixtures: list[Tensor] = []  # of the calls of gradient

    def value(self, mixture: Mixture) -> float:
        assert self.is_evaluating
        return self.at(mixture)

    def at(self, mixture: Mixture) -> float:
        w = mixture["cell"]
        return float((self.gradient_value * w).sum() + self.curvature * w.square().sum())

    def gradient(self, mixture: Mixture) -> dict[str, Tensor]:
        assert self.is_evaluating
        self.mixtures.append(mixture["cell"])
        return {"cell": self.gradient_value + 2 * self.curvature * mixture["cell"]}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        self.is_evaluating = True
        yield
        self.is_evaluating = False


@pytest.mark.parametrize("kind", [RandomSmoothing, Adversarial])
@pytest.mark.parametrize("progress", [0.0, 0.5, 0.98])
def test_perturbed_weights_are_nonnegative_and_keep_their_sums(
    kind: type[RandomSmoothing], progress: float
) -> None:
    mixture = mixture_of()
    before = mixture["cell"].clone()
    gradient_value = torch.randn(6, 5, generator=NOISE).double()
    changed = kind()(mixture, QuadraticLoss(gradient_value), progress)
    assert (changed["cell"] >= 0).all()
    torch.testing.assert_close(changed["cell"].sum(1), before.sum(1))
    assert (changed["cell"] != before).any()  # an edge that would lose all its weight is unchanged
    assert mixture["cell"].equal(before)


def test_perturb_limits_weights_to_zero_and_one_before_it_restores_the_sum() -> None:
    weight = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.9, 0.1, 0.0]])
    change = torch.tensor([[0.1, -0.4, 0.0], [-1.0, -1.0, -1.0], [0.6, 0.1, 0.0]])
    actual = perturb(Mixture({"cell": weight}), {"cell": change})["cell"]
    # The largest of -0.5, -0.7 and -0.8 gets all, and 1.5 becomes 1.
    expected = torch.tensor([[0.6, 0.0, 0.2], [1.0, 0.0, 0.0], [1.0, 0.2, 0.0]])
    torch.testing.assert_close(actual, expected / expected.sum(1, keepdim=True))


def test_radius_grows_linearly() -> None:
    actual = [RandomSmoothing().radius_at(progress) for progress in (0, 0.5, 1)]
    assert actual == pytest.approx([0.03, 0.165, 0.3])
    assert Adversarial(radius=0.1, radius_end=0.2).radius_at(0.25) == pytest.approx(0.125)


def test_noise_has_the_radius_of_the_progress() -> None:
    mixture, smoothing = mixture_of(), RandomSmoothing(radius=0.1, radius_end=0.2)
    torch.manual_seed(0)
    actual = smoothing(mixture, NO_LOSS, 0.5)
    torch.manual_seed(0)
    wanted = perturb(mixture, uniform_noise(mixture, 0.15))
    torch.testing.assert_close(actual["cell"], wanted["cell"])


def test_adversarial_change_of_a_linear_loss_is_the_sign_of_the_gradient() -> None:
    """The gradients are balanced and the weights exceed the radius: a corner of the ball."""
    weights = torch.full((3, 4), 0.25, dtype=torch.float64)
    rows = [[1.0, -2, 3, -0.1], [-1, -1, 5, 5], [0.2, 0.1, -0.3, -7]]
    gradient_value = torch.tensor(rows).double()
    attack = Adversarial(radius=0.05, radius_end=0.15)
    for seed in range(3):
        torch.manual_seed(seed)
        actual = attack(Mixture({"cell": weights}), QuadraticLoss(gradient_value), 0.5)["cell"]
        torch.testing.assert_close(actual, weights + 0.1 * gradient_value.sign())


def test_adversarial_steps_start_from_random_noise() -> None:
    weights = torch.full((2, 4), 0.25, dtype=torch.float64)
    gradient_value = torch.tensor([[1.0, -1, 1, -1]] * 2).double()
    torch.manual_seed(3)
    start = uniform_noise(Mixture({"cell": weights}), 0.1)["cell"]
    torch.manual_seed(3)
    attack = Adversarial(radius=0.1, radius_end=0.1, steps=10)
    loss = QuadraticLoss(gradient_value)
    attack(Mixture({"cell": weights}), loss, 0.0)
    assert len(loss.mixtures) == 10
    change = start
    for mixture in loss.mixtures:
        wanted = (weights + change) / (weights + change).sum(1, keepdim=True)
        torch.testing.assert_close(mixture, wanted)
        # The next step starts from the projected mixture.
        change = (wanted - weights + 0.02 * gradient_value.sign()).clamp(-0.1, 0.1)


def test_an_attack_that_lowers_the_loss_is_dropped() -> None:
    """The loss is highest at the given mixture, so every attack lowers it."""
    weights = torch.tensor([[0.4, 0.3, 0.3]], dtype=torch.float64)
    peak = QuadraticLoss(2 * weights, curvature=-1.0)
    mixture = Mixture({"cell": weights})
    assert Adversarial(radius=0.1, radius_end=0.1)(mixture, peak, 0.0) is mixture
    assert len(peak.mixtures) == 7


@pytest.mark.parametrize("kind", [RandomSmoothing, Adversarial])
def test_inactive_operations_get_no_weight(kind: type[RandomSmoothing]) -> None:
    active = torch.rand(6, 5, generator=NOISE) < 0.6
    active[:, 0] = True
    active[3] = torch.tensor([False, True, False, False, False])
    weights = mixture_of()["cell"] * active
    mixture = Mixture({"cell": weights}, active={"cell": active}, bypass={"cell": torch.ones(6)})
    changed = kind()(mixture, QuadraticLoss(torch.randn(6, 5, generator=NOISE).double()), 0.9)
    assert not changed["cell"][~active].any()
    torch.testing.assert_close(changed["cell"].sum(1), weights.sum(1))
    # The only active operation keeps its weight.
    torch.testing.assert_close(changed["cell"][3], weights[3])
    assert changed.active is mixture.active
    assert changed.bypass is mixture.bypass
