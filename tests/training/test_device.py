"""Devices, precisions, seeds are resolved and checked."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from darts.training.device import (
    check_precision,
    loss_scaler,
    precision_context,
    resolve_device,
    round_robin_gpu,
    seed_everything,
)

CPU = torch.device("cpu")


def fake_devices(monkeypatch: pytest.MonkeyPatch, *, cuda: int, mps: bool) -> None:
    """Make PyTorch report a number of CUDA devices and whether it has MPS."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_auto_prefers_cuda_then_mps_then_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((2, True, "cuda"), (0, True, "mps"), (0, False, "cpu")):
        fake_devices(monkeypatch, cuda=cuda, mps=mps)
        assert resolve_device("auto").type == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda:2", "PyTorch sees 2 CUDA devices"),
        ("mps", "PyTorch sees no such device"),
        ("tpu", "is unknown"),
        ("", "is unknown"),
        ("cuda:x", "is unknown"),
        ("0", "is unknown"),
        ("meta", "is not supported"),
        ("xla", "is not supported"),
    ],
)
def test_missing_and_unknown_devices_are_refused(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_devices(monkeypatch, cuda=2, mps=False)
    with pytest.raises(ValueError, match=message) as caught:
        resolve_device(name)
    text = str(caught.value)
    assert repr(name) in text
    assert "choose from auto, cpu, cuda, cuda:N, mps" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("visible", "count", "expected"),
    [("3,5", 8, ["3", "5", "3"]), (None, 2, ["0", "1", "0"]), ("3", 8, [None] * 3)],
)
def test_child_processes_get_the_visible_gpus_in_turn(
    visible: str | None, count: int, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_devices(monkeypatch, cuda=count, mps=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    variables = [round_robin_gpu(number) for number in range(3)]
    assert [own.get("CUDA_VISIBLE_DEVICES") for own in variables] == expected


def test_a_precision_sets_the_dtype_and_fp16_needs_a_gpu() -> None:
    x = torch.ones(2, 2)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        check_precision(name, CPU)
        with precision_context(name, CPU):
            assert (x @ x).dtype == dtype
    message = "precision=fp16: needs a GPU; choose fp32 or bf16 on the CPU"
    with pytest.raises(ValueError, match=message):
        check_precision("fp16", CPU)
    check_precision("fp16", torch.device("cuda"))
    assert not loss_scaler("bf16", CPU).is_enabled()
    assert not loss_scaler("fp32", CPU).is_enabled()


def test_one_seed_determines_all_global_generators() -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    seed_everything(2**40 + 1)  # larger than NumPy accepts
    first = draw()
    seed_everything(2**40 + 1)
    assert draw() == first
    seed_everything(2**40 + 2)
    assert all(a != b for a, b in zip(draw(), first, strict=True))
