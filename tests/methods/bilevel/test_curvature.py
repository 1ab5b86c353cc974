"""The dominant eigenvalue of the Hessian of the alphas, compared with the dense matrix."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_search import make_batch, make_searcher
from torch import Tensor, nn

from darts.methods.bilevel.curvature import AlphaHessian, dominant_eigenvalue
from darts.spaces.cnn import Supernet


def make_net() -> Supernet:
    """Return a supernet with one normal and two reduction cells in float64."""
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
    net = copy.deepcopy(net)
    alphas = list(net.alphas.values())
    gradients = torch.autograd.grad(loss_fn(net, batch), alphas, create_graph=True)
    rows = []
    for entry in torch.cat([gradient.flatten() for gradient in gradients]):
        row = torch.autograd.grad(entry, alphas, retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in row]))
    return torch.stack(rows)


def test_products_and_largest_eigenvalue_match_the_dense_hessian() -> None:
    net, batch = make_net(), make_batch(1, size=6)
    matrix = dense(net, batch)
    torch.testing.assert_close(matrix, matrix.T)
    hessian = AlphaHessian(net, loss_fn, batch)
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
    hessian = AlphaHessian(net, loss_fn, make_batch(1))
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
    actual = AlphaHessian(net, partial(searcher.arch_loss, mean=True), batch).times(vector)
    step, gradients = 1e-4, []
    alpha = net.alphas["cell"]
    for sign in (1, -2):
        with torch.no_grad():
            alpha += sign * step * vector.view_as(alpha)
        gradients += torch.autograd.grad(searcher.arch_loss(net, batch, mean=True), alpha)
    difference = (gradients[0] - gradients[1]).flatten() / (2 * step)
    torch.testing.assert_close(actual, difference, rtol=1e-3, atol=1e-6)
    assert actual.any()
    assert torch.get_rng_state().equal(random)
