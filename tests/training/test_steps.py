"""Learning rates, optimizer steps, running means, and the error for losses that are not finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from darts.config import ConfigError, WeightOptimizerConfig
from darts.training.device import loss_scaler
from darts.training.steps import check_weight_optimizer, optimizer_steps, weight_optimizer

SCALER = loss_scaler("fp32", torch.device("cpu"))


@pytest.mark.parametrize("options", [{"algorithm": "adam"}, {"momentum": 0.0}])
def test_nesterov_momentum_needs_sgd_with_momentum(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"nesterov=true: needs optimizer\.algorithm=sgd"):
        check_weight_optimizer(WeightOptimizerConfig(nesterov=True, **options))


def equal_nets() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    first, second = nn.Linear(4, 3), nn.Linear(4, 3)
    second.load_state_dict(first.state_dict())
    return first, second


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
def test_a_step_equals_explicit_sgd_with_momentum_and_clipping(clip: float) -> None:
    net, other = equal_nets()
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)) * 5
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    velocity = {name: torch.zeros_like(p) for name, p in other.named_parameters()}
    for _ in range(3):
        (norm,) = optimizer_steps(net(x).square().mean(), [(optimizer, clip)], SCALER)
        gradients = torch.autograd.grad(other(x).square().mean(), list(other.parameters()))
        length = float(torch.cat([g.flatten() for g in gradients]).norm())
        assert float(norm) == pytest.approx(length, rel=1e-5)  # before clipping
        factor = min(1.0, clip / length) if clip else 1.0
        with torch.no_grad():
            for (name, p), gradient in zip(other.named_parameters(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + factor * gradient + 0.01 * p
                p.sub_(0.1 * velocity[name])
        for actual, expected in zip(net.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_scaled_loss_gives_the_same_step(clip: float) -> None:
    """In fp16, gradients are scaled up; clipping must use their true norm."""
    net, other = equal_nets()
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)) * 5
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    norms = [
        float(optimizer_steps(net(x).square().mean(), [(optimizer, clip)], scale)[0])
        for net, scale in ((net, scaler), (other, SCALER))
        for optimizer in [torch.optim.SGD(net.parameters(), lr=0.1)]
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    torch.testing.assert_close(net.weight, other.weight)
    before = net.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer_steps(net(x).sum() * float("inf"), [(optimizer, clip)], scaler)
    assert torch.equal(net.weight, before)  # a step whose gradient overflows is skipped
    assert scaler.get_scale() == 512


def test_a_step_ignores_old_gradients_and_weights_without_gradients() -> None:
    net, _ = equal_nets()
    unused = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([*net.parameters(), unused], lr=0.1)
    loss = net(torch.ones(1, 4)).sum()
    (first,) = optimizer_steps(loss, [(optimizer, 0.0)], SCALER)
    (again,) = optimizer_steps(net(torch.ones(1, 4)).sum(), [(optimizer, 0.0)], SCALER)
    assert float(first) == pytest.approx(float(again))
    assert unused.tolist() == [1, 1]


def test_the_configured_optimizer_updates_the_weights() -> None:
    """The first step of Adam has the size of the learning rate for any gradient."""
    config = WeightOptimizerConfig(algorithm="adam", lr=0.1, momentum=0.8, weight_decay=0.0)
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = weight_optimizer([weight], config)
    weight.grad = torch.tensor([1e-3, -50.0])
    optimizer.step()
    assert weight.tolist() == pytest.approx([0.9, -1.9], abs=1e-5)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
    plain = weight_optimizer([weight], WeightOptimizerConfig(lr=0.1, weight_decay=0.01))
    assert isinstance(plain, torch.optim.SGD)
    assert (plain.defaults["momentum"], plain.defaults["nesterov"]) == (0.9, False)
    assert weight_optimizer([weight], WeightOptimizerConfig(nesterov=True)).defaults["nesterov"]
