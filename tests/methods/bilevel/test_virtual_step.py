"""The virtual step, compared with the step of PyTorch's optimizer."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from darts.methods.bilevel.unrolled import sgd_step

COMBINATIONS = [
    {
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": decay,
        "nesterov": nesterov,
        "maximize": maximize,
    }
    for momentum, dampening, decay, nesterov, maximize in product(
        (0.0, 0.9), (0.0, 0.3), (0.0, 1e-2), (False, True), (False, True)
    )
    if not nesterov or (momentum and not dampening)  # PyTorch rejects the others
]


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 2, 3, 3), (4,), (2, 5)]
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes]


def gradients(weights: list[nn.Parameter], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in weights]


@pytest.mark.parametrize("options", COMBINATIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_virtual_step_matches_sgd_at_first_and_later_steps(options: dict) -> None:
    weights = parameters()
    optimizer = torch.optim.SGD(weights, lr=0.05, **options)
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.05 / (step + 1)  # like a schedule
        inputs = gradients(weights, step)
        before = [w.detach().clone() for w in weights]
        predicted, _ = sgd_step(optimizer, weights, inputs)
        assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
        for weight, gradient in zip(weights, inputs, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
        for weight, guess in zip(weights, predicted, strict=True):
            torch.testing.assert_close(guess, weight.detach(), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("options", COMBINATIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_factors_are_the_derivatives_with_respect_to_the_gradient(options: dict) -> None:
    weights = parameters()
    optimizer = torch.optim.SGD(weights, lr=0.05, **options)
    for step in range(3):
        inputs, change = gradients(weights, step), gradients(weights, step + 100)
        here, factors = sgd_step(optimizer, weights, inputs)
        there, same = sgd_step(
            optimizer, weights, [g + c for g, c in zip(inputs, change, strict=True)]
        )
        assert factors == same
        for h, t, c, factor in zip(here, there, change, factors, strict=True):
            torch.testing.assert_close(t - h, -factor * c, rtol=1e-9, atol=1e-12)
        for weight, gradient in zip(weights, inputs, strict=True):
            weight.grad = gradient
        optimizer.step()


def test_loaded_momentum_buffers_are_used() -> None:
    weights = parameters()
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    for weight, gradient in zip(weights, gradients(weights, 0), strict=True):
        weight.grad = gradient
    optimizer.step()
    again = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    fresh, _ = sgd_step(again, weights, gradients(weights, 1))
    again.load_state_dict(optimizer.state_dict())
    resumed, _ = sgd_step(again, weights, gradients(weights, 1))
    wanted, _ = sgd_step(optimizer, weights, gradients(weights, 1))
    for a, b, c in zip(resumed, wanted, fresh, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_weights_without_momentum_buffer_are_supported() -> None:
    """Weights that never had a gradient have no buffer yet."""
    weights = parameters()
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9, dampening=0.5)
    weights[0].grad = torch.ones_like(weights[0])
    optimizer.step()
    _, factors = sgd_step(optimizer, weights, gradients(weights, 0))
    assert factors == pytest.approx([0.1 * 0.5, 0.1, 0.1])


def test_other_optimizers_raise_an_error() -> None:
    weights = parameters()
    for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
        with pytest.raises(ValueError, match=f"got {kind.__name__}; use SGD") as caught:
            sgd_step(kind(weights), weights, gradients(weights, 0))
        assert "\n" not in str(caught.value)
