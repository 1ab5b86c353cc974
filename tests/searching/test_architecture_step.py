"""An architecture step follows the hypergradient, also with the scaled loss of fp16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.methods.bilevel import GRADIENTS, first_order
from darts.searching.architecture_step import architecture_step
from darts.spaces.cnn import Supernet

CPU = torch.device("cpu")
Batch = tuple[Tensor, Tensor]


def make_setup() -> tuple[Supernet, torch.optim.SGD, torch.optim.SGD, list[Batch]]:
    torch.manual_seed(0)
    net = Supernet(channels=2, cells=3, classes=3, nodes=2)
    weights = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    # With lr=1, a step subtracts the gradient.
    alphas = torch.optim.SGD(net.alphas.parameters(), lr=1.0)
    batches = [(torch.randn(4, 3, 8, 8), torch.randint(3, (4,))) for _ in range(2)]
    return net, weights, alphas, batches


def cross_entropy(net: Any, batch: Batch) -> Tensor:
    return F.cross_entropy(net(batch[0]).float(), batch[1])


def take_step(
    name: str,
    scaler: torch.amp.GradScaler,
    precision: str,
    loss: Any = cross_entropy,
    clip: float = 0.0,
    **options: Any,
) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """Take an architecture step.

    Returns:
        The decrease of the alphas, the returned norm, and the float32 gradient without scaling.
    """
    net, weights, alphas, (train_batch, valid_batch) = make_setup()
    gradient = GRADIENTS[name](**options)
    expected = gradient(net, cross_entropy, train_batch, valid_batch, weights)
    before = {key: alpha.detach().clone() for key, alpha in net.alphas.items()}
    norm = architecture_step(
        net,
        loss,
        train_batch,
        valid_batch,
        gradient=gradient,
        optimizer=weights,
        arch_optimizer=alphas,
        scaler=scaler,
        precision=precision,
        device=CPU,
        clip=clip,
    )
    assert all(alpha.grad is None for alpha in net.alphas.values())
    return {key: before[key] - net.alphas[key].detach() for key in before}, norm, expected


ORDERS: list[tuple[str, dict[str, Any]]] = [
    ("first_order", {}),
    ("unrolled", {"epsilon": 0.1}),
    ("unrolled", {"hvp": "exact"}),
]


@pytest.mark.parametrize(("name", "options"), ORDERS)
def test_a_step_subtracts_the_hypergradient(name: str, options: dict[str, Any]) -> None:
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    steps, norm, expected = take_step(name, scaler, "fp32", **options)
    for key, gradient in expected.items():
        torch.testing.assert_close(steps[key], gradient, rtol=0, atol=1e-6)
    expected_norm = torch.cat([gradient.flatten() for gradient in expected.values()]).norm()
    torch.testing.assert_close(norm, expected_norm)


@pytest.mark.parametrize(("name", "options"), ORDERS)
def test_a_scaled_loss_gives_the_same_step(name: str, options: dict[str, Any]) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    steps, norm, expected = take_step(name, scaler, "fp32", **options)
    for key, gradient in expected.items():
        torch.testing.assert_close(steps[key], gradient, rtol=1e-4, atol=1e-6)
    expected_norm = torch.cat([gradient.flatten() for gradient in expected.values()]).norm()
    torch.testing.assert_close(norm, expected_norm, rtol=1e-4, atol=0)


@pytest.mark.parametrize("scale", [None, 2.0**14])
def test_clipping_bounds_the_norm_of_the_step(scale: float | None) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    unclipped, norm, _ = take_step("first_order", scaler, "fp32")
    clip = 0.25 * float(norm)
    clipped, norm_before, _ = take_step("first_order", scaler, "fp32", clip=clip)
    torch.testing.assert_close(norm_before, norm, rtol=1e-4, atol=0)
    for key, step in unclipped.items():
        torch.testing.assert_close(clipped[key], 0.25 * step, rtol=1e-3, atol=1e-6)


def test_fp16_loses_small_gradients_unless_the_loss_is_scaled() -> None:
    """The gradients of this small loss underflow in half precision."""

    def tiny(net: Any, batch: Batch) -> Tensor:
        return 1e-6 * F.cross_entropy(net(batch[0]), batch[1])

    def error(enabled: bool) -> float:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, enabled=enabled)
        steps, _, unscaled = take_step("first_order", scaler, "fp16", loss=tiny)
        expected = torch.cat([1e-6 * gradient.flatten() for gradient in unscaled.values()])
        actual = torch.cat([step.flatten() for step in steps.values()])
        # A step is a difference of alphas of about 1e-3, so it has lost a few digits.
        return float((actual - expected).norm() / expected.norm())

    assert error(enabled=True) < 0.2
    assert error(enabled=False) > 0.5


def test_a_step_that_overflows_is_skipped_and_halves_the_scale() -> None:
    def infinite(net: Any, batch: Batch) -> Tensor:
        return cross_entropy(net, batch) * float("inf")

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    steps, _, _ = take_step("first_order", scaler, "fp32", loss=infinite)
    assert all(not step.any() for step in steps.values())
    assert scaler.get_scale() == 2.0**7


def test_gradients_are_reduced_over_ranks_and_then_unscaled() -> None:
    net, weights, alphas, (train_batch, valid_batch) = make_setup()
    gradients = first_order(net, cross_entropy, train_batch, valid_batch, weights)
    before = nn.utils.parameters_to_vector(net.alphas.values()).detach().clone()
    architecture_step(
        net,
        cross_entropy,
        train_batch,
        valid_batch,
        gradient=first_order,
        optimizer=weights,
        arch_optimizer=alphas,
        scaler=torch.amp.GradScaler("cpu", init_scale=4.0),
        precision="fp32",
        device=CPU,
        reduce=lambda gradients: [3 * gradient for gradient in gradients],
    )
    actual = before - nn.utils.parameters_to_vector(net.alphas.values()).detach()
    expected = 3 * torch.cat([gradient.flatten() for gradient in gradients.values()])
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)
