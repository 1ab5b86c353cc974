"""Dirichlet mixing weights compared with closed forms of the distribution."""

from __future__ import annotations

import pytest
import torch
from tiny_search import context_and_supernet
from torch import Tensor

from darts.methods.relaxation_sampled import Dirichlet, concentration

CONTEXT, _ = context_and_supernet("nas201")
ROW = torch.tensor([0.8, -0.5, 0.0, 1.5, -1.2], dtype=torch.float64)
KEPT = torch.tensor([True, False, True, True, False])
SAMPLES = 40_000


def sample(alpha: Tensor, kept: Tensor | None = None) -> Tensor:
    torch.manual_seed(0)
    mask = None if kept is None else kept.expand(SAMPLES, -1)
    return Dirichlet().sample_weights(alpha.expand(SAMPLES, -1), mask, CONTEXT)


def test_concentration_is_elu_plus_one_and_positive() -> None:
    wanted = torch.where(ROW > 0, ROW + 1, ROW.exp())
    torch.testing.assert_close(concentration(ROW), wanted)
    assert (concentration(torch.tensor([-1e4, -200.0])) > 0).all()


@pytest.mark.parametrize("kept", [None, KEPT])
def test_samples_have_the_moments_of_the_distribution(kept: Tensor | None) -> None:
    """A subset of the entries, divided by its sum, is Dirichlet with the same concentrations."""
    weights = sample(ROW, kept)
    torch.testing.assert_close(weights.sum(1), torch.ones(SAMPLES, dtype=torch.float64))
    beta = concentration(ROW) * (1 if kept is None else kept)
    total = beta.sum()
    mean = beta / total
    variance = beta * (total - beta) / (total.square() * (total + 1))
    limit = 5 * (variance / SAMPLES).sqrt()  # standard errors
    assert ((weights.mean(0) - mean).abs() <= limit).all()
    torch.testing.assert_close(weights.var(0), variance, rtol=0.05, atol=1e-12)
    covariance = torch.cov(weights.T)
    wanted = -beta[:, None] * beta / (total.square() * (total + 1))
    wanted = wanted - torch.diag(wanted.diagonal()) + torch.diag(variance)
    torch.testing.assert_close(covariance, wanted, rtol=0.1, atol=5e-4)


@pytest.mark.parametrize("kept", [None, KEPT])
def test_probabilities_and_mean_weights_are_the_mean(kept: Tensor | None) -> None:
    actual = Dirichlet().operation_probabilities(ROW[None], None if kept is None else kept[None])[0]
    beta = [float(b) for b in concentration(ROW)]
    total = sum(b for b, present in zip(beta, KEPT, strict=True) if kept is None or present)
    wanted = [
        b / total if kept is None or present else 0.0 for b, present in zip(beta, KEPT, strict=True)
    ]
    torch.testing.assert_close(actual, torch.tensor(wanted, dtype=torch.float64))
    mean = Dirichlet().mean_weights(ROW[None], None if kept is None else kept[None])
    assert mean[0].equal(actual)


@pytest.mark.parametrize("kept", [None, KEPT])
def test_the_authors_code_ranks_by_the_softmax_of_the_alphas(kept: Tensor | None) -> None:
    """The mixing weights of evaluation stay the mean of the distribution."""
    mask = None if kept is None else kept[None]
    code = Dirichlet(ranking="softmax")
    logits = ROW if kept is None else ROW.masked_fill(~kept, -torch.inf)
    torch.testing.assert_close(code.operation_probabilities(ROW[None], mask)[0], logits.softmax(0))
    mean = code.mean_weights(ROW[None], mask)
    torch.testing.assert_close(mean, Dirichlet().operation_probabilities(ROW[None], mask))
