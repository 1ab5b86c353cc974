"""An architecture step follows the hypergradient, also with the scaled loss of fp16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_search import make_batch, make_searcher
from torch import Tensor

from darts.methods.bilevel.arch_gradient import GradientInputs

Batch = tuple[Tensor, Tensor]
ORDERS = [
    ("bilevel=first_order",),
    ("bilevel=unrolled", "bilevel.epsilon=0.1"),
    ("bilevel=unrolled", "bilevel.hvp=exact"),
]


def take_step(
    *overrides: str,
    scale: float | None = None,
    loss: Callable[[Any, Batch], Tensor] | None = None,
    precision: str = "fp32",
    ranks: int = 1,
) -> tuple[Tensor, Tensor, Tensor, torch.amp.GradScaler]:
    """Take an architecture step.

    Returns:
        The decrease of the alphas, the returned norm, the float32 gradient of the unscaled default
        loss, and the scaler.
    """
    searcher = make_searcher("space=nas201", "space.cells=1", *overrides)
    searcher.begin_epoch(0)
    alpha, batches = searcher.net.alphas["cell"], (make_batch(0), make_batch(1))
    # With lr=1, a step subtracts the gradient.
    searcher.arch_optimizer = torch.optim.SGD([alpha], lr=1.0)
    enabled = scale is not None
    searcher.arch_scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=enabled)
    inputs = GradientInputs(searcher.net, searcher.arch_loss, *batches, searcher.optimizer)
    expected = searcher.bilevel.gradient(inputs)["cell"]
    searcher.config.precision = precision
    searcher.ranks.all_reduce = lambda tensors: [ranks * tensor for tensor in tensors]
    if loss is not None:
        searcher.arch_loss = loss
    before = alpha.detach().clone()
    norm = searcher.arch_step(*batches)
    assert alpha.grad is None
    return before - alpha.detach(), norm, expected, searcher.arch_scaler


@pytest.mark.parametrize("scale", [None, 2.0**14])
@pytest.mark.parametrize("overrides", ORDERS)
def test_a_step_subtracts_the_hypergradient(
    overrides: tuple[str, ...], scale: float | None
) -> None:
    step, norm, expected, _ = take_step(*overrides, scale=scale)
    torch.testing.assert_close(step, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norm, expected.norm(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("scale", [None, 2.0**14])
def test_clipping_bounds_the_norm_of_the_step(scale: float | None) -> None:
    unclipped, norm, _, _ = take_step(scale=scale)
    limit = f"arch_optimizer.clip={0.25 * float(norm)}"
    clipped, norm_before, _, _ = take_step(limit, scale=scale)
    torch.testing.assert_close(norm_before, norm, rtol=1e-4, atol=0)
    torch.testing.assert_close(clipped, 0.25 * unclipped, rtol=1e-3, atol=1e-6)


def test_fp16_loses_small_gradients_unless_the_loss_is_scaled() -> None:
    """The gradients of this small loss underflow in half precision."""

    def error(scale: float | None) -> float:
        searcher = make_searcher("space=nas201", "space.cells=1")

        def tiny(net: Any, batch: Batch) -> Tensor:
            weights = searcher.config.relaxation.mixture(dict(net.alphas.items()), searcher.context)
            return 1e-6 * F.cross_entropy(net(batch[0], weights), batch[1])

        step, _, unscaled, _ = take_step(scale=scale, loss=tiny, precision="fp16")
        expected = 1e-6 * unscaled
        # A step is a difference of alphas of about 1e-3, so it has lost a few digits.
        return float((step - expected).norm() / expected.norm())

    assert error(2.0**20) < 0.2
    assert error(None) > 0.5


def test_a_step_that_overflows_is_skipped_and_halves_the_scale() -> None:
    def infinite(net: Any, batch: Batch) -> Tensor:
        return net.alphas["cell"].sum() * float("inf")

    step, _, _, scaler = take_step(scale=2.0**8, loss=infinite)
    assert not step.any()
    assert scaler.get_scale() == 2.0**7


def test_gradients_are_reduced_over_ranks_and_then_unscaled() -> None:
    step, _, expected, _ = take_step(scale=4.0, ranks=3)
    torch.testing.assert_close(step, 3 * expected, rtol=1e-4, atol=1e-6)
