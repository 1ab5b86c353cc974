"""True float32, copies to a device, for which ``meta`` stands, and recomputed modules."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from darts.ops.float32 import exact_float32, float32_products
from darts.ops.recomputation import recompute
from darts.ops.transfer import constant_on


def test_products_are_exact_within_an_outer_autocast() -> None:
    x = torch.randn(8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with exact_float32(torch.device("cpu")):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16


def test_tf32_is_forbidden_and_then_as_before() -> None:
    with float32_products(tf32=True):
        with exact_float32(torch.device("cpu")):
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32


def test_shapes_can_be_computed_without_values() -> None:
    x = torch.empty(4, 8, device="meta")
    with exact_float32(x.device):
        assert (x @ x.T).shape == (4, 4)


def test_a_constant_is_copied_once_and_again_when_it_has_changed() -> None:
    x, meta = torch.ones(3), torch.device("meta")
    copy = constant_on(x, meta)
    assert copy.device.type == "meta"
    assert constant_on(x, meta) is copy
    x[0] = 2
    assert constant_on(x, meta) is not copy
    assert constant_on(torch.ones(3), meta) is not copy
    assert constant_on(x, torch.device("cpu")) is x
    assert constant_on(x, meta, torch.float64).dtype == torch.float64


def test_a_constant_can_be_used_in_a_training_after_an_evaluation() -> None:
    x = torch.ones(3)
    with torch.inference_mode():
        copy = constant_on(x, torch.device("meta"))
    assert not copy.is_inference()


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
