"""Copies between the CPU and a device; ``meta`` stands for the device."""

from __future__ import annotations

import pytest
import torch

from darts.ops.transfer import constant_on, on_cpu, to_device


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
