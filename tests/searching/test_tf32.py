"""Finite differences and curvature stay in true float32, also where a run allows TF32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tf32 import EmulatedTf32
from tiny_search import make_batch, make_searcher
from torch import Tensor

import darts
from darts.methods.bilevel.arch_gradient import GradientInputs
from darts.methods.bilevel.curvature import AlphaHessian
from darts.methods.bilevel.unrolled import _VirtualStep
from darts.ops.float32 import float32_products
from darts.searching.searcher import Searcher
from darts.training import loop
from darts.training.steps import optimizer_steps

SMALL = ("space.channels=4", "space.cells=2")


@contextmanager
def tf32_run() -> Iterator[EmulatedTf32]:
    """The state in which ``precision=tf32`` computes."""
    with float32_products(tf32=True), EmulatedTf32() as mode:
        yield mode


@contextmanager
def exact() -> Iterator[EmulatedTf32]:
    """The state in which ``precision=fp32`` computes, to which the emulation makes no change."""
    with float32_products(tf32=False), EmulatedTf32() as mode:
        yield mode


def weights_of(searcher: Searcher) -> list[Tensor]:
    return [w for group in searcher.optimizer.param_groups for w in group["params"]]


def require_equal(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert any(bool(tensor.any()) for tensor in expected)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_the_emulation_changes_a_step_of_the_weights() -> None:
    weights = []
    for tf32 in (False, True):
        searcher = make_searcher(*SMALL, f"precision={'tf32' if tf32 else 'fp32'}")
        with float32_products(tf32=tf32), EmulatedTf32() as mode:
            searcher.weight_step(make_batch(0))
        weights.append(torch.cat([w.detach().flatten() for w in weights_of(searcher)]))
        assert (mode.count > 0) == tf32
    assert not torch.equal(*weights)


def test_the_finite_difference_does_not_round() -> None:
    searcher = make_searcher(*SMALL, "bilevel=unrolled")
    batches = make_batch(0), make_batch(1)
    inputs = GradientInputs(searcher.net, searcher.arch_loss, *batches, searcher.optimizer)
    step = _VirtualStep(inputs, graph=False, clip=0.0)
    expected = step.finite_difference(0.01)
    with tf32_run() as mode:
        actual = step.finite_difference(0.01)
    assert mode.count == 0
    require_equal(actual, expected)


def test_products_with_the_hessian_of_the_alphas_do_not_round() -> None:
    searcher = make_searcher(*SMALL)
    results = []
    for emulated in (False, True):
        with tf32_run() if emulated else exact() as mode:
            hessian = AlphaHessian(searcher.net, searcher.arch_loss, make_batch(0))
            results.append(hessian.times(torch.ones(hessian.size)))
        assert mode.count == 0
    require_equal(results[1:], results[:1])


@pytest.mark.slow
def test_the_alignment_of_cells_does_not_round() -> None:
    """Its term of the loss of the weights is a difference of two losses; it is differentiated."""
    gradients = []
    for emulated in (False, True):
        searcher = make_searcher(
            "space.channels=4", "space.cells=4", "regularizer=alignment", "regularizer.epsilon=0.01"
        )
        searcher.context.epoch, searcher.context.epochs = 1, 2  # the weight of the term is full
        loss = searcher._mixture_loss(make_batch(0), "fp32")
        with tf32_run() if emulated else exact() as mode:
            mixture = searcher.config.relaxation.mixture(
                {g: a.detach() for g, a in searcher.net.alphas.items()}, searcher.context
            )
            term = searcher.config.regularizer.weight_term(mixture, loss, searcher.context)
            assert term is not None
            nothing = torch.stack([w.sum() * 0 for w in weights_of(searcher)]).sum()
            optimizer_steps(nothing, [(searcher.optimizer, 0.0)], searcher.scaler, exact_term=term)
        assert mode.count == 0
        gradients.append([w.grad for w in weights_of(searcher) if w.grad is not None])
    require_equal(gradients[1], gradients[0])


@pytest.mark.parametrize("tf32", [False, True])
def test_a_run_sets_the_rounding_and_restores_it(
    tf32: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    original = loop.require_finite

    def record(*arguments: Any) -> float:
        seen.add((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return original(*arguments)

    monkeypatch.setattr(loop, "require_finite", record)
    if tf32:  # as if there were an NVIDIA GPU
        monkeypatch.setattr("darts.recipes.checks.check_precision", lambda *arguments: None)
    with float32_products(tf32=not tf32):
        overrides = [*SMALL, "dataset.samples=32", "tracking.figures=false"]
        overrides += ["loader.batch_size=8", f"precision={'tf32' if tf32 else 'fp32'}"]
        darts.search(data="synthetic", epochs=1, out=tmp_path / "run", overrides=overrides)
        after = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    assert seen == {(tf32, tf32)}
    assert after == (not tf32, not tf32)
