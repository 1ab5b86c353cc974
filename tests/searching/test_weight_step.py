"""Weight steps: float32 terms of regularizers, and steps that also update the alphas."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from tiny_search import make_batch, make_searcher
from torch import Tensor

from darts.methods.perturbation import Perturbation
from darts.methods.regularizer import Regularizer
from darts.searching.budget_alphas import LARGEST, alphas_at
from darts.searching.mixture_loss import SupernetMixtureLoss
from darts.spaces import Mixture


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


@pytest.mark.slow
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
    mixture = searcher.config.relaxation.mixture(alphas_at(searcher.net, LARGEST), searcher.context)
    mixture = mixture.with_weights({g: w.detach().requires_grad_() for g, w in mixture.items()})
    before = copy.deepcopy(searcher.net.state_dict())
    with loss.evaluating():
        assert not searcher.net.training
        evaluated = loss.value(mixture)
    assert searcher.net.training
    value = loss(mixture)
    gradient = loss.gradient(mixture)
    expected = torch.autograd.grad(value, list(mixture.values()), retain_graph=True)
    torch.testing.assert_close(tuple(gradient.values()), expected)
    weights = searcher.net.weight_parameters()
    assert any(g is not None for g in torch.autograd.grad(value, weights, allow_unused=True))
    assert loss.value(mixture) == pytest.approx(value.item())
    assert evaluated != pytest.approx(value.item())  # running statistics instead of the batch's
    after = searcher.net.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("perturbation", ["none", "random"])
def test_a_single_level_step_updates_weights_and_alphas_from_one_draw(perturbation: str) -> None:
    """Both gradients are those of one loss at one sample of the mixing weights."""
    searcher = make_searcher(
        "method=snas",
        "space=nas201",
        "space.cells=1",
        "space.channels=4",
        f"perturbation={perturbation}",
        *(f"optimizer.{key}=0" for key in ("momentum", "weight_decay", "clip")),
    )
    searcher.begin_epoch(0)
    net, batch = searcher.net, make_batch(0)
    parameters = [*net.weight_parameters(), *net.alphas.values()]
    before = [parameter.detach().clone() for parameter in parameters]

    torch.manual_seed(3)
    weights = searcher.config.relaxation.mixture(alphas_at(net, LARGEST), searcher.context)["cell"]
    noise = torch.zeros_like(weights)
    if perturbation == "random":
        loss = SupernetMixtureLoss(net, searcher.objective, searcher.ranks, batch, "fp32")
        perturbed = searcher.config.perturbation(Mixture({"cell": weights.detach()}), loss, 0.0)
        noise = perturbed["cell"] - weights.detach()
        assert float(noise.norm()) > 0
    images, labels = batch
    value = F.cross_entropy(net(images, {"cell": weights + noise}), labels)
    expected = torch.autograd.grad(value, parameters, allow_unused=True)

    searcher.arch_optimizer = torch.optim.SGD(list(net.alphas.values()), lr=2.0)
    lr = searcher.optimizer.param_groups[0]["lr"]
    torch.manual_seed(3)
    step = searcher.weight_step(batch, joint=True)
    assert float(step.arch_norm) == pytest.approx(float(expected[-1].norm()), rel=1e-4)
    for old, new, gradient in zip(before, parameters, expected, strict=True):
        rate = 2.0 if new is parameters[-1] else lr
        change = torch.zeros_like(old) if gradient is None else -rate * gradient
        torch.testing.assert_close(new.detach() - old, change, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
def test_the_term_of_a_regularizer_is_taken_at_the_perturbed_mixture(
    joint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The term and the loss belong to one mixture, whether or not the step updates the alphas."""
    searcher = make_searcher("space=nas201", "space.cells=1", "space.channels=4")
    searcher.begin_epoch(0)
    seen: list[Mixture] = []

    def halve(_: Perturbation, mixture: Mixture, *others: object) -> Mixture:
        return mixture.with_weights({group: weight / 2 for group, weight in mixture.items()})

    def record(_: Regularizer, mixture: Mixture, *others: object) -> None:
        seen.append(mixture)

    monkeypatch.setattr(Perturbation, "__call__", halve)
    monkeypatch.setattr(Regularizer, "weight_term", record)
    expected = searcher.net.alphas["cell"].detach().softmax(-1) / 2
    searcher.weight_step(make_batch(0), joint=joint)
    (mixture,) = seen
    torch.testing.assert_close(mixture["cell"], expected)
    assert not mixture["cell"].requires_grad
