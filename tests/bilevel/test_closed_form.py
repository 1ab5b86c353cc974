"""A quadratic bilevel problem whose hypergradient is derived by hand.

    L_train(w, a) = |w - A a|^2 / 2        L_valid(w, a) = |w - b|^2 / 2 + c . a

so that grad_w L_train = w - A a and d2 L_train / (d a d w) = -A'. A step
w' = w - lr * s * grad + ... moves with a by lr * s * A, hence

    d L_valid(w'(a), a) / d a = c + A' (lr * s * (w' - b)),

where s says how much of the present gradient the momentum lets through at once.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts.bilevel import compare_products, first_order, unrolled

HVP = ["finite_difference", "exact"]


class Toy(nn.Module):
    """Weights in two tensors, of 3 and 2 numbers; alphas in two groups, of 2 and 1."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)

        def tensor(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

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
def test_plain_step(hvp: str) -> None:
    net, lr = Toy(), 0.3
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=lr)
    w, a = net.w.detach(), net.a.detach()
    stepped = w - lr * (w - net.A @ a)
    wanted = net.c + lr * net.A.T @ (stepped - net.b)
    torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("hvp", HVP)
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize(
    ("momentum", "dampening", "nesterov"),
    [(0.9, 0.0, False), (0.9, 0.4, False), (0.5, 0.0, True)],
)
def test_momentum_and_weight_decay(
    momentum: float, dampening: float, nesterov: bool, weight_decay: float, hvp: str
) -> None:
    net, lr = Toy(), 0.3
    optimizer = torch.optim.SGD(
        net.weight_parameters(),
        lr=lr,
        momentum=momentum,
        dampening=dampening,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    velocity = None
    for _ in range(3):
        w, a = net.w.detach(), net.a.detach()
        downhill = w - net.A @ a + weight_decay * w
        through = 1.0  # the share of the gradient that enters the velocity
        if velocity is None:
            velocity = downhill
        else:
            through = 1 - dampening
            velocity = momentum * velocity + through * downhill
        if nesterov:
            stepped = w - lr * (downhill + momentum * velocity)
            through = 1 + momentum * through
        else:
            stepped = w - lr * velocity
        wanted = net.c + lr * through * net.A.T @ (stepped - net.b)
        torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)
        optimizer.zero_grad()
        loss_fn(net, "train").backward()
        optimizer.step()
        torch.testing.assert_close(net.w.detach(), stepped, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("hvp", HVP)
def test_every_parameter_group_has_its_own_rates(hvp: str) -> None:
    net = Toy()
    groups: list[dict[str, Any]] = [
        {"params": [net.second], "lr": 0.5, "momentum": 0.0, "weight_decay": 0.1},
        {"params": [net.first]},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.01)
    w, a = net.w.detach(), net.a.detach()
    lr = torch.tensor([0.01] * 3 + [0.5] * 2, dtype=torch.float64)
    decay = torch.tensor([0.0] * 3 + [0.1] * 2, dtype=torch.float64)
    stepped = w - lr * (w - net.A @ a + decay * w)
    wanted = net.c + net.A.T @ (lr * (stepped - net.b))
    torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("hvp", HVP)
def test_weights_that_the_optimizer_does_not_hold_stay(hvp: str) -> None:
    net, lr = Toy(), 0.2
    optimizer = torch.optim.SGD([net.first], lr=lr)
    w, a = net.w.detach(), net.a.detach()
    rate = torch.tensor([lr] * 3 + [0.0] * 2, dtype=torch.float64)
    stepped = w - rate * (w - net.A @ a)
    wanted = net.c + net.A.T @ (rate * (stepped - net.b))
    torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("hvp", HVP)
def test_a_step_uphill(hvp: str) -> None:
    net, lr = Toy(), 0.2
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=lr, maximize=True)
    w, a = net.w.detach(), net.a.detach()
    stepped = w + lr * (w - net.A @ a)
    wanted = net.c - lr * net.A.T @ (stepped - net.b)
    torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("hvp", HVP)
def test_a_validation_loss_without_weights_leaves_the_direct_term(hvp: str) -> None:
    net = Toy()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.2)
    seen: list[str] = []

    def loss(net: Any, batch: str) -> Tensor:
        seen.append(batch)
        return loss_fn(net, batch) if batch == "train" else net.c @ net.a

    found = flat(unrolled(net, loss, "train", "valid", optimizer, hvp=hvp))
    assert torch.equal(found, net.c)
    assert seen == ["train", "valid"]  # nothing to perturb along


def test_descent_along_the_unrolled_gradient_solves_the_bilevel_problem() -> None:
    # With c = 0 and learning rate 1 the step lands on w' = A a, so that the outer problem is least
    # squares in a. First order sees nothing of it: its gradient is zero.
    net = Toy()
    net.c.zero_()
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=1.0)
    assert not flat(first_order(net, loss_fn, "train", "valid", optimizer)).any()
    outer = torch.optim.SGD(net.alphas.parameters(), lr=1 / float(torch.linalg.norm(net.A, 2)) ** 2)
    for _ in range(400):
        for name, value in unrolled(net, loss_fn, "train", "valid", optimizer).items():
            net.alphas[name].grad = value
        outer.step()
    wanted = torch.linalg.lstsq(net.A, net.b[:, None]).solution[:, 0]
    torch.testing.assert_close(net.a.detach(), wanted, rtol=1e-6, atol=1e-8)


def test_both_products_are_the_same_on_a_quadratic_problem() -> None:
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
