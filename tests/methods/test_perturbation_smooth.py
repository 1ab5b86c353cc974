"""Random and adversarial perturbations of a mixture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from darts.methods.perturbation import Adversarial, RandomSmoothing, perturb, uniform_noise
from darts.spaces.mixture import Mixture

GENERATOR = torch.Generator().manual_seed(0)


def mixture_of(**options: Any) -> Mixture:
    """Return a mixture whose edges have different sums, as with edge weights."""
    weights = torch.rand(6, 5, generator=GENERATOR).double()
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


def linear(gradient_value: Tensor) -> Any:
    return QuadraticLoss(gradient_value)


@pytest.mark.parametrize("kind", [RandomSmoothing, Adversarial])
@pytest.mark.parametrize("progress", [0.0, 0.5, 0.98])
def test_perturbed_weights_are_nonnegative_and_keep_their_sums(
    kind: type[RandomSmoothing], progress: float
) -> None:
    mixture = mixture_of()
    before = mixture["cell"].clone()
    gradient_value = torch.randn(6, 5, generator=GENERATOR).double()
    changed = kind()(mixture, linear(gradient_value), progress)
    assert (changed["cell"] >= 0).all()
    torch.testing.assert_close(changed["cell"].sum(1), before.sum(1))
    assert (changed["cell"] != before).any()  # an edge that would lose all its weight is unchanged
    assert mixture["cell"].equal(before)


def test_perturb_clamps_and_restores_the_sum() -> None:
    weight = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    change = torch.tensor([[0.1, -0.4, 0.0], [-1.0, -1.0, -1.0]])
    actual = perturb(Mixture({"cell": weight}), {"cell": change})["cell"]
    # 0.6, 0 and 0.2 are rescaled to a sum of 1; the largest of -0.5, -0.7 and -0.8 gets all.
    torch.testing.assert_close(actual, torch.tensor([[0.75, 0.0, 0.25], [1.0, 0.0, 0.0]]))


def test_perturb_limits_weights_to_one_before_it_restores_the_sum() -> None:
    weight, change = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.6, 0.1]])
    actual = perturb(Mixture({"cell": weight}), {"cell": change})["cell"]
    torch.testing.assert_close(actual, torch.tensor([[1.0, 0.2]]) / 1.2)


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
    gradient_value = torch.tensor(
        [[1.0, -2, 3, -0.1], [-1, -1, 5, 5], [0.2, 0.1, -0.3, -7]]
    ).double()
    attack = Adversarial(radius=0.05, radius_end=0.15)
    for seed in range(3):
        torch.manual_seed(seed)
        actual = attack(Mixture({"cell": weights}), linear(gradient_value), 0.5)["cell"]
        torch.testing.assert_close(actual, weights + 0.1 * gradient_value.sign())


def test_adversarial_steps_start_from_random_noise() -> None:
    weights = torch.full((2, 4), 0.25, dtype=torch.float64)
    gradient_value = torch.tensor([[1.0, -1, 1, -1]] * 2).double()
    torch.manual_seed(3)
    start = uniform_noise(Mixture({"cell": weights}), 0.1)["cell"]
    torch.manual_seed(3)
    attack = Adversarial(radius=0.1, radius_end=0.1, steps=10)
    loss = linear(gradient_value)
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
    active = torch.rand(6, 5, generator=GENERATOR) < 0.6
    active[:, 0] = True
    active[3] = torch.tensor([False, True, False, False, False])
    weights = mixture_of()["cell"] * active
    mixture = Mixture({"cell": weights}, active={"cell": active}, bypass={"cell": torch.ones(6)})
    changed = kind()(mixture, linear(torch.randn(6, 5, generator=GENERATOR).double()), 0.9)
    assert not changed["cell"][~active].any()
    torch.testing.assert_close(changed["cell"].sum(1), weights.sum(1))
    # The only active operation keeps its weight.
    torch.testing.assert_close(changed["cell"][3], weights[3])
    assert changed.active is mixture.active
    assert changed.bypass is mixture.bypass
