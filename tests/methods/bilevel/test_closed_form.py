"""A quadratic bilevel problem whose hypergradient is derived by hand.

    L_train(w, a) = |w - A a|^2 / 2        L_valid(w, a) = |w - b|^2 / 2 + c . a

The gradient is grad_w L_train = w - A a, and d2 L_train / (d a d w) = -A'. The step
w' = w - lr * s * grad + ... has the derivative lr * s * A with respect to a. Therefore

    d L_valid(w'(a), a) / d a = c + A' (lr * s * (w' - b)),

where s is the factor of the current gradient in the step, which depends on the momentum.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.methods.bilevel import compare_products, first_order, unrolled

HVP = ["finite_difference", "exact"]


class Toy(nn.Module):
    """A problem with weights of sizes 3 and 2, and alpha groups of sizes 2 and 1."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def tensor(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.first, self.second = nn.Parameter(tensor(3)), nn.Parameter(tensor(2))
        self.alphas = nn.ParameterDict({"x": nn.Parameter(tensor(2)), "y": nn.Parameter(tensor(1))})
        self.A, self.b, self.c = tensor(5, 3), tensor(5), tensor(3)

    def weight_parameters(self) -> list[nn.Parameter]:
        return [self.first, self.second]

    @property
    def w(self) -> Tensor:
        return torch.cat([self.first, self.second])

    @property
    def a(self) -> Tensor:
        return torch.cat(list(self.alphas.values()))


def loss_fn(net: Any, batch: str) -> Tensor:
    if batch == "train":
        return (net.w - net.A @ net.a).square().sum() / 2
    return (net.w - net.b).square().sum() / 2 + net.c @ net.a


def flat(gradients: dict[str, Tensor]) -> Tensor:
    assert {name: g.shape for name, g in gradients.items()} == {"x": (2,), "y": (1,)}
    return torch.cat(list(gradients.values()))


def gradient(net: Toy, optimizer: torch.optim.Optimizer, hvp: str) -> Tensor:
    return flat(unrolled(net, loss_fn, "train", "valid", optimizer, hvp=hvp))


def test_first_order_is_the_direct_term() -> None:
    net = Toy()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    torch.testing.assert_close(flat(first_order(net, loss_fn, "train", "valid", optimizer)), net.c)


@pytest.mark.parametrize("hvp", HVP)
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize(
    ("momentum", "dampening", "nesterov", "maximize"),
    [
        *((0.0, 0.0, False, False), (0.9, 0.0, False, False), (0.9, 0.4, False, False)),
        *((0.5, 0.0, True, False), (0.9, 0.4, False, True), (0.5, 0.0, True, True)),
    ],
)
def test_all_options_of_sgd(
    momentum: float, dampening: float, nesterov: bool, maximize: bool, weight_decay: float, hvp: str
) -> None:
    net, lr, sign = Toy(), 0.3, -1.0 if maximize else 1.0
    optimizer = torch.optim.SGD(
        net.weight_parameters(),
        lr=lr,
        momentum=momentum,
        dampening=dampening,
        nesterov=nesterov,
        maximize=maximize,
        weight_decay=weight_decay,
    )
    velocity = None
    for _ in range(3):
        w, a = net.w.detach(), net.a.detach()
        downhill = sign * (w - net.A @ a) + weight_decay * w
        factor = sign  # of the gradient in the velocity
        if velocity is None:
            velocity = downhill
        else:
            factor = sign * (1 - dampening)
            velocity = momentum * velocity + (1 - dampening) * downhill
        if nesterov:
            stepped = w - lr * (downhill + momentum * velocity)
            factor = sign + momentum * factor
        else:
            stepped = w - lr * velocity
        wanted = net.c + lr * factor * net.A.T @ (stepped - net.b)
        torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)
        optimizer.zero_grad()
        loss_fn(net, "train").backward()
        optimizer.step()
        torch.testing.assert_close(net.w.detach(), stepped, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("hvp", HVP)
@pytest.mark.parametrize(("clip", "clipped"), [(0.5, True), (100.0, False)])
def test_clipping_shortens_the_step_and_the_vector(clip: float, clipped: bool, hvp: str) -> None:
    """Weight decay is added after the clipping, as in an optimizer step."""
    net, lr, decay = Toy(), 0.3, 0.2
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=lr, weight_decay=decay)
    w, a = net.w.detach(), net.a.detach()
    downhill = w - net.A @ a
    assert (float(downhill.norm()) > clip) is clipped
    shrink = min(1.0, clip / (float(downhill.norm()) + 1e-6))
    stepped = w - lr * (shrink * downhill + decay * w)
    vector = stepped - net.b
    vector = vector * min(1.0, clip / (float(vector.norm()) + 1e-6))
    wanted = net.c + lr * shrink * net.A.T @ vector
    actual = flat(unrolled(net, loss_fn, "train", "valid", optimizer, hvp=hvp, clip=clip))
    torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=1e-11)


def test_negative_clipping_is_refused() -> None:
    net = Toy()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"clip=-1.0: must be >= 0"):
        unrolled(net, loss_fn, "train", "valid", optimizer, clip=-1.0)


@pytest.mark.parametrize("hvp", HVP)
@pytest.mark.parametrize(
    ("first", "second", "rates", "decays"),
    [
        ({"lr": 0.01}, {"lr": 0.5, "weight_decay": 0.1}, (0.01, 0.5), (0.0, 0.1)),
        ({"lr": 0.2}, None, (0.2, 0.0), (0.0, 0.0)),  # outside the optimizer
        ({"lr": 0.0}, {"lr": 0.0}, (0.0, 0.0), (0.0, 0.0)),  # the gradient of the first order
        ({"maximize": True}, {"maximize": True}, (-0.2, -0.2), (0.0, 0.0)),
    ],
)
def test_each_weight_steps_with_the_options_of_its_group(
    first: dict[str, Any],
    second: dict[str, Any] | None,
    rates: tuple[float, float],
    decays: tuple[float, float],
    hvp: str,
) -> None:
    net = Toy()
    groups: list[dict[str, Any]] = [{"params": [net.first], **first}]
    groups += [] if second is None else [{"params": [net.second], **second}]
    optimizer = torch.optim.SGD(groups, lr=0.2)
    w, a = net.w.detach(), net.a.detach()
    rate, decay = (
        torch.tensor([pair[0]] * 3 + [pair[1]] * 2, dtype=torch.float64) for pair in (rates, decays)
    )
    stepped = w - rate * (w - net.A @ a + decay * w)
    wanted = net.c + net.A.T @ (rate * (stepped - net.b))
    torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)


def test_both_products_agree_on_a_quadratic_problem() -> None:
    net = Toy()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.3)
    w, a = net.w.detach(), net.a.detach()
    stepped = w - 0.3 * (w - net.A @ a)
    product = -0.3 * net.A.T @ (stepped - net.b)
    report = compare_products(net, loss_fn, "train", "valid", optimizer)
    assert report.keys() == {
        "product_cosine",
        "product_relative_difference",
        "gradient_cosine",
        "product_share",
    }
    assert all(isinstance(value, float) for value in report.values())
    assert report["product_cosine"] == pytest.approx(1, abs=1e-12)
    assert report["gradient_cosine"] == pytest.approx(1, abs=1e-12)
    assert report["product_relative_difference"] < 1e-10
    assert report["product_share"] == pytest.approx(float(product.norm() / net.c.norm()))
