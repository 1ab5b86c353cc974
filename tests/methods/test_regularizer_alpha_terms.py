"""Regularizer terms in the loss of the alphas, compared with explicit formulas."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from tiny_search import context_and_supernet
from torch import Tensor

from darts.methods.regularizer import Anchor, BetaDecay, Regularizer, ZeroOne

CONTEXT = dataclasses.replace(context_and_supernet("cnn")[0], epoch=2, epochs=5)
GENERATOR = torch.Generator().manual_seed(0)


def alphas_of() -> dict[str, Tensor]:
    """Return alphas of both cells and edge alphas, which regularizers ignore."""
    shapes = {"normal": (14, 8), "reduce": (14, 8), "normal_edges": (14,)}
    return {
        name: torch.randn(shape, generator=GENERATOR, dtype=torch.float64).requires_grad_()
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
