"""Architecture gradients in closed form, and the eigenvalue of the Hessian of the alphas."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_search import make_batch, make_searcher
from torch import Tensor, nn

from darts.methods.bilevel import first_order, unrolled
from darts.methods.bilevel.curvature import AlphaHessian, dominant_eigenvalue
from darts.spaces.cnn import Supernet

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
    """The second weight gets its first gradient, and so its momentum buffer, at the second step."""
    net, lr, sign = Toy(), 0.3, -1.0 if maximize else 1.0
    options: Any = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
    options |= {"nesterov": nesterov, "maximize": maximize}
    optimizer = torch.optim.SGD(net.weight_parameters(), lr=lr, **options)
    velocity = torch.zeros(5, dtype=torch.float64)
    begun = velocity  # 1 where the optimizer has a momentum buffer
    for step in range(3):
        w, a = net.w.detach(), net.a.detach()
        downhill = sign * (w - net.A @ a) + weight_decay * w
        factor = sign * (1 - dampening * begun)  # of the gradient in the velocity
        velocity = momentum * velocity + (1 - dampening * begun) * downhill
        if nesterov:
            stepped = w - lr * (downhill + momentum * velocity)
            factor = sign + momentum * factor
        else:
            stepped = w - lr * velocity
        wanted = net.c + lr * net.A.T @ (factor * (stepped - net.b))
        torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)
        optimizer.zero_grad()
        loss_fn(net, "train").backward()
        if step == 0:
            net.second.grad = None
        optimizer.step()
        begun = torch.tensor([1.0] * 3 + [float(step > 0)] * 2, dtype=torch.float64)
        velocity, stepped = begun * velocity, w + begun * (stepped - w)
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
    pairs = torch.tensor([rates, decays], dtype=torch.float64)
    rate, decay = pairs.repeat_interleave(torch.tensor([3, 2]), dim=1)
    stepped = w - rate * (w - net.A @ a + decay * w)
    wanted = net.c + net.A.T @ (rate * (stepped - net.b))
    torch.testing.assert_close(gradient(net, optimizer, hvp), wanted, rtol=1e-9, atol=1e-11)


def loss_of(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = batch
    return F.cross_entropy(net(images.double()), labels)


def test_products_and_largest_eigenvalue_match_the_dense_hessian() -> None:
    torch.manual_seed(0)
    operations = ("max_pool_3x3", "skip_connect", "sep_conv_3x3")
    net = Supernet(channels=2, cells=3, classes=3, nodes=2, operations=operations).double()
    for alpha in net.alphas.values():
        nn.init.normal_(alpha)
    alphas, batch = list(net.alphas.values()), make_batch(1, size=6)
    gradients = torch.autograd.grad(loss_of(net, batch), alphas, create_graph=True)
    entries = torch.cat([gradient.flatten() for gradient in gradients])
    rows = [torch.autograd.grad(entry, alphas, retain_graph=True) for entry in entries]
    matrix = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    torch.testing.assert_close(matrix, matrix.T)
    hessian = AlphaHessian(net, loss_of, batch)
    assert hessian.size == len(matrix) == 30
    vector = torch.randn(30, generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(hessian.times(vector), matrix @ vector)
    values = torch.linalg.eigvalsh(matrix)
    assert values[0] < 0 < values[-1]
    assert dominant_eigenvalue(hessian) == pytest.approx(float(values[-1]), rel=1e-3)


def test_largest_eigenvalue_is_found_despite_larger_negative_ones() -> None:
    """The eigenvalue of largest magnitude of this quadratic is negative."""
    values = torch.tensor([-9.0, -1.0, 0.5, 2.0, 3.5], dtype=torch.float64)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))
    q = torch.from_numpy(rotation)
    matrix = q @ torch.diag(values) @ q.T

    class Quadratic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.alphas = nn.ParameterDict({"a": torch.randn(2).double()})
            self.alphas["b"] = torch.randn(3).double()
            self.scale = nn.Parameter(torch.ones(()).double())

        def weight_parameters(self) -> list[nn.Parameter]:
            return [self.scale]

    def quadratic(net: Any, batch: Any) -> Tensor:
        point = torch.cat(list(net.alphas.values()))
        return 0.5 * net.scale * point @ matrix @ point

    hessian = AlphaHessian(Quadratic(), quadratic, None)
    assert dominant_eigenvalue(hessian) == pytest.approx(3.5, rel=0.01)
    assert dominant_eigenvalue(hessian, tolerance=1e-9) == pytest.approx(3.5)
    assert dominant_eigenvalue(hessian, tolerance=1e-9, max_products=1) < 3.4
    doubled = AlphaHessian(Quadratic(), quadratic, None, lambda parts: [2 * p for p in parts])
    assert dominant_eigenvalue(doubled, tolerance=1e-9) == pytest.approx(7.0)


def test_unused_groups_have_a_zero_hessian() -> None:
    """In a supernet without normal cells, the Hessian of their alphas is 0."""
    torch.manual_seed(0)
    net = Supernet(channels=2, cells=1, classes=3, nodes=2).double()
    hessian = AlphaHessian(net, loss_of, make_batch(1))
    product = hessian.times(torch.ones(hessian.size).double())
    assert net.counts == {"normal": 0, "reduce": 1}
    assert not product[:40].any()
    assert product[40:].any()
    rows = [hessian.times(row) for row in torch.eye(hessian.size).double()]
    largest = float(torch.linalg.eigvalsh(torch.stack(rows))[-1])
    assert dominant_eigenvalue(hessian) == pytest.approx(largest, rel=1e-3)


@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet", "concrete"])
def test_random_relaxations_use_the_mean_mixture(relaxation: str) -> None:
    """Dirichlet samples cannot be differentiated twice."""
    searcher = make_searcher(f"relaxation={relaxation}", "space=nas201", "space.cells=1")
    net, (images, labels) = searcher.net.double(), make_batch(1, size=6)
    nn.init.normal_(net.alphas["cell"])  # elu has no second derivative at 0
    batch = images.double(), labels
    vector = torch.randn(30, generator=torch.Generator().manual_seed(3)).double()
    random = torch.get_rng_state()
    actual = AlphaHessian(net, partial(searcher.arch_loss, deterministic=True), batch).times(vector)
    step, gradients = 1e-4, []
    alpha = net.alphas["cell"]
    for sign in (1, -2):
        with torch.no_grad():
            alpha += sign * step * vector.view_as(alpha)
        gradients += torch.autograd.grad(searcher.arch_loss(net, batch, deterministic=True), alpha)
    difference = (gradients[0] - gradients[1]).flatten() / (2 * step)
    torch.testing.assert_close(actual, difference, rtol=1e-3, atol=1e-6)
    assert actual.any()
    assert torch.get_rng_state().equal(random)
