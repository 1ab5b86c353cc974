"""Blocks in true float32, and copies to a device, for which ``meta`` stands."""

from __future__ import annotations

import pytest
import torch

from darts.ops.float32 import exact_float32, float32_products
from darts.ops.transfer import constant_on, on_cpu, to_device


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


def test_tensors_on_the_cpu_keep_their_names_and_shapes() -> None:
    tensors = {"a": torch.tensor([[True, False]]), "b": torch.tensor([True])}
    torch.testing.assert_close(on_cpu(tensors), tensors, rtol=0, atol=0)


def test_a_constant_is_copied_once() -> None:
    x, meta = torch.ones(3), torch.device("meta")
    copy = constant_on(x, meta)
    assert copy.device.type == "meta"
    assert constant_on(x, meta) is copy
    assert constant_on(torch.ones(3), meta) is not copy
    assert constant_on(x, torch.device("cpu")) is x
    assert constant_on(x, meta, torch.float64).dtype == torch.float64


def test_a_constant_that_has_changed_is_copied_again() -> None:
    x, meta = torch.ones(3), torch.device("meta")
    copy = constant_on(x, meta)
    x[0] = 2
    assert constant_on(x, meta) is not copy


def test_a_constant_can_be_used_in_a_training_after_an_evaluation() -> None:
    x = torch.ones(3)
    with torch.inference_mode():
        copy = constant_on(x, torch.device("meta"))
    assert not copy.is_inference()


def test_a_captured_step_may_not_copy_to_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="a step that is captured copies a tensor to the GPU"):
        to_device(torch.ones(3), torch.device("cuda"))
