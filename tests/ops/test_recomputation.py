"""Recomputed modules free their inner tensors and have the same gradients."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from darts.ops.recomputation import recompute


class WeaklyReferenced(nn.Module):
    """A module with a weak reference to a tensor that its backward pass needs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.inner: weakref.ref[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.linear(x).tanh()
        self.inner = weakref.ref(inner)
        return self.norm(inner).square()


def test_inner_tensors_are_freed_and_gradients_agree() -> None:
    torch.manual_seed(0)
    module, x = WeaklyReferenced(), torch.randn(5, 3)
    expected = module(x)
    assert module.inner is not None
    assert module.inner() is not None
    wanted = torch.autograd.grad(expected.sum(), list(module.parameters()))
    y = recompute(module, x)
    gc.collect()
    assert module.inner() is None
    actual = torch.autograd.grad(y.sum(), list(module.parameters()))
    torch.testing.assert_close(actual, wanted, rtol=0, atol=0)


def test_recomputation_uses_the_weights_of_the_first_computation() -> None:
    torch.manual_seed(0)
    module, x = WeaklyReferenced(), torch.randn(5, 3)
    others = {name: torch.randn_like(p).requires_grad_() for name, p in module.named_parameters()}

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Tensor) -> Any:
            return recompute(self.module, x)

    inputs = {f"module.{name}": value for name, value in others.items()}
    y = functional_call(Outer(), inputs, (x,))  # type: ignore[arg-type]
    # The module has its own weights again.
    actual = torch.autograd.grad(y.sum(), list(others.values()))
    expected = functional_call(module, others, (x,))  # type: ignore[arg-type]
    wanted = torch.autograd.grad(expected.sum(), list(others.values()))
    torch.testing.assert_close(actual, wanted, rtol=0, atol=0)
