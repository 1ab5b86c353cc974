"""The step of the alphas: the gradient it follows, and losses scaled in fp16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.bilevel import GRADIENTS, first_order
from darts.searching.architecture_step import architecture_step
from darts.spaces.cnn import Supernet

CPU = torch.device("cpu")
Batch = tuple[Tensor, Tensor]


def context() -> tuple[Supernet, torch.optim.SGD, torch.optim.SGD, list[Batch]]:
    torch.manual_seed(0)
    net = Supernet(channels=2, cells=3, classes=3, nodes=2)
    weights = torch.optim.SGD(net.weight_parameters(), lr=0.1, momentum=0.9)
    alphas = torch.optim.SGD(net.alphas.parameters(), lr=1.0)  # a step is minus the gradient
    batches = [(torch.randn(4, 3, 8, 8), torch.randint(3, (4,))) for _ in range(2)]
    return net, weights, alphas, batches


def cross_entropy(net: Any, batch: Batch) -> Tensor:
    return F.cross_entropy(net(batch[0]).float(), batch[1])


def take(
    name: str,
    scaler: torch.amp.GradScaler,
    precision: str,
    loss: Any = cross_entropy,
    **options: Any,
) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """How far a step moves the alphas, the norm it tells, and the plain float32 gradient."""
    net, weights, alphas, batches = context()
    gradient = GRADIENTS[name](**options)
    plain = gradient(net, cross_entropy, *batches, weights)
    before = {key: alpha.detach().clone() for key, alpha in net.alphas.items()}
    norm = architecture_step(
        *(net, loss, *batches),
        gradient=gradient,
        optimizer=weights,
        arch_optimizer=alphas,
        scaler=scaler,
        precision=precision,
        device=CPU,
    )
    assert all(alpha.grad is None for alpha in net.alphas.values())
    return {key: before[key] - net.alphas[key].detach() for key in before}, norm, plain


ORDERS: list[tuple[str, dict[str, Any]]] = [
    ("first_order", {}),
    ("unrolled", {"epsilon": 0.1}),
    ("unrolled", {"hvp": "exact"}),
]


@pytest.mark.parametrize(("name", "options"), ORDERS)
def test_the_step_follows_the_gradient(name: str, options: dict[str, Any]) -> None:
    moved, norm, plain = take(name, torch.amp.GradScaler("cpu", enabled=False), "fp32", **options)
    for key, gradient in plain.items():
        torch.testing.assert_close(moved[key], gradient, rtol=0, atol=1e-6)
    length = torch.cat([gradient.flatten() for gradient in plain.values()]).norm()
    torch.testing.assert_close(norm, length)


@pytest.mark.parametrize(("name", "options"), ORDERS)
def test_a_scaled_loss_gives_the_same_step(name: str, options: dict[str, Any]) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    moved, norm, plain = take(name, scaler, "fp32", **options)
    for key, gradient in plain.items():
        torch.testing.assert_close(moved[key], gradient, rtol=1e-4, atol=1e-6)
    length = torch.cat([gradient.flatten() for gradient in plain.values()]).norm()
    torch.testing.assert_close(norm, length, rtol=1e-4, atol=0)


def test_fp16_loses_small_gradients_unless_the_loss_is_scaled() -> None:
    """A loss so small that its gradients underflow in half precision."""

    def tiny(net: Any, batch: Batch) -> Tensor:
        return 1e-6 * F.cross_entropy(net(batch[0]), batch[1])

    def error(enabled: bool) -> float:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, enabled=enabled)
        moved, _, plain = take("first_order", scaler, "fp16", loss=tiny)
        wanted = torch.cat([1e-6 * gradient.flatten() for gradient in plain.values()])
        got = torch.cat([step.flatten() for step in moved.values()])
        # Steps are read off alphas of about 1e-3, so a few of their digits are lost.
        return float((got - wanted).norm() / wanted.norm())

    assert error(enabled=True) < 0.2
    assert error(enabled=False) > 0.5


def test_a_step_that_overflows_is_left_out_and_the_scale_shrinks() -> None:
    def infinite(net: Any, batch: Batch) -> Tensor:
        return cross_entropy(net, batch) * float("inf")

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    moved, _, _ = take("first_order", scaler, "fp32", loss=infinite)
    assert all(not step.any() for step in moved.values())
    assert scaler.get_scale() == 2.0**7


def test_gradients_are_summed_before_they_are_scaled_back() -> None:
    net, weights, alphas, batches = context()
    plain = first_order(net, cross_entropy, *batches, weights)
    before = nn.utils.parameters_to_vector(net.alphas.values()).detach().clone()
    architecture_step(
        *(net, cross_entropy, *batches),
        gradient=first_order,
        optimizer=weights,
        arch_optimizer=alphas,
        scaler=torch.amp.GradScaler("cpu", init_scale=4.0),
        precision="fp32",
        device=CPU,
        reduce=lambda gradients: [3 * gradient for gradient in gradients],
    )
    moved = before - nn.utils.parameters_to_vector(net.alphas.values()).detach()
    wanted = 3 * torch.cat([gradient.flatten() for gradient in plain.values()])
    torch.testing.assert_close(moved, wanted, rtol=1e-4, atol=1e-6)
