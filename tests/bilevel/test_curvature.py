"""The dominant eigenvalue of the alphas' Hessian against the dense matrix."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_search import make_batch, make_searcher
from torch import Tensor, nn

from darts.bilevel.curvature import AlphaHessian, dominant_eigenvalue
from darts.spaces.cnn import Supernet


def net_of() -> Supernet:
    """A normal cell and two reduction cells in float64, in training mode."""
    torch.manual_seed(0)
    net = Supernet(
        channels=2,
        cells=3,
        classes=3,
        nodes=2,
        operations=("max_pool_3x3", "skip_connect", "sep_conv_3x3"),
    ).double()
    for alpha in net.alphas.values():
        nn.init.normal_(alpha)
    return net


def loss_fn(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = batch
    return F.cross_entropy(net(images.double()), labels)


def dense(net: Supernet, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Row by row, by double backward on a copy."""
    net = copy.deepcopy(net)
    alphas = list(net.alphas.values())
    gradients = torch.autograd.grad(loss_fn(net, batch), alphas, create_graph=True)
    rows = []
    for entry in torch.cat([gradient.flatten() for gradient in gradients]):
        row = torch.autograd.grad(entry, alphas, retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in row]))
    return torch.stack(rows)


def test_the_products_and_the_largest_eigenvalue() -> None:
    net, batch = net_of(), make_batch(1, size=6)
    matrix = dense(net, batch)
    torch.testing.assert_close(matrix, matrix.T)
    hessian = AlphaHessian(net, loss_fn, batch)
    assert hessian.size == len(matrix) == 30
    vector = torch.randn(30, generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(hessian.times(vector), matrix @ vector)
    values = torch.linalg.eigvalsh(matrix)
    assert values[0] < 0 < values[-1]
    assert dominant_eigenvalue(hessian) == pytest.approx(float(values[-1]), rel=1e-3)


def test_the_hessian_is_that_of_finite_differences() -> None:
    """Of the gradient, along one direction."""
    net, batch = net_of(), make_batch(1, size=6)
    vector = torch.randn(30, generator=torch.Generator().manual_seed(3)).double()
    found = AlphaHessian(net, loss_fn, batch).times(vector)
    step, gradients = 1e-5, []
    for sign in (1, -1):
        moved = copy.deepcopy(net)
        parts = vector.split([alpha.numel() for alpha in moved.alphas.values()])
        with torch.no_grad():
            for alpha, part in zip(moved.alphas.values(), parts, strict=True):
                alpha += sign * step * part.view_as(alpha)
        loss_fn(moved, batch).backward()
        gradients.append(torch.cat([alpha.grad.flatten() for alpha in moved.alphas.values()]))
    difference = (gradients[0] - gradients[1]) / (2 * step)
    torch.testing.assert_close(found, difference, rtol=1e-4, atol=1e-6)


def test_the_largest_and_not_the_one_of_largest_size() -> None:
    """Of a known quadratic, whose most negative eigenvalue is the larger one in size."""
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


def test_the_network_stays_as_it_is() -> None:
    net, batch = net_of(), make_batch(1, size=6)
    before = copy.deepcopy(net.state_dict())
    random = torch.get_rng_state()
    first = dominant_eigenvalue(AlphaHessian(net, loss_fn, batch))
    assert dominant_eigenvalue(AlphaHessian(net, loss_fn, batch)) == first
    after = net.state_dict()
    assert all(after[name].equal(before[name]) for name in before)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.training
    assert torch.get_rng_state().equal(random)


def test_alphas_without_a_part_in_the_loss() -> None:
    """Of a reduction cell alone, the normal cell's alphas have a Hessian of zeros."""
    torch.manual_seed(0)
    net = Supernet(channels=2, cells=1, classes=3, nodes=2).double()
    hessian = AlphaHessian(net, loss_fn, make_batch(1))
    product = hessian.times(torch.ones(hessian.size).double())
    assert net.counts == {"normal": 0, "reduce": 1}
    assert not product[:40].any()
    assert product[40:].any()
    assert np.isfinite(dominant_eigenvalue(hessian))


@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet", "concrete"])
def test_of_a_random_relaxation_it_is_that_of_the_judged_supernet(relaxation: str) -> None:
    """Against finite differences; a Dirichlet draw cannot be differentiated twice."""
    searcher = make_searcher(f"relaxation={relaxation}", "space=nas201", "space.cells=1")
    net, (images, labels) = searcher.net.double(), make_batch(1, size=6)
    nn.init.normal_(net.alphas["cell"])  # elu has no second derivative at 0
    batch = images.double(), labels
    vector = torch.randn(30, generator=torch.Generator().manual_seed(3)).double()
    random = torch.get_rng_state()
    found = AlphaHessian(net, searcher.mean_mixture_loss, batch).times(vector)
    step, gradients = 1e-4, []
    alpha = net.alphas["cell"]
    for sign in (1, -2):
        with torch.no_grad():
            alpha += sign * step * vector.view_as(alpha)
        gradients += torch.autograd.grad(searcher.mean_mixture_loss(net, batch), alpha)
    difference = (gradients[0] - gradients[1]).flatten() / (2 * step)
    torch.testing.assert_close(found, difference, rtol=1e-3, atol=1e-6)
    assert found.any()
    assert torch.get_rng_state().equal(random)
