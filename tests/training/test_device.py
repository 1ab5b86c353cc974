"""Devices, and the states of their random generators."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darts.training.checkpoint import (
    CheckpointError,
    checkpoint_errors,
    load_checkpoint,
    save_checkpoint,
)
from darts.training.device import (
    autocast,
    check_precision,
    loss_scaler,
    random_states,
    resolve_device,
    restore_random_states,
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
        with autocast(name, CPU):
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


def test_restored_generators_continue_their_sequences(tmp_path: Path) -> None:
    def draw() -> list[Any]:
        return [
            random.random(),
            random.gauss(0, 1),
            np.random.rand(3).tolist(),
            np.random.standard_normal(),
            np.random.randint(1 << 30),
            torch.rand(3).tolist(),
            torch.randn(5).tolist(),
            torch.randperm(9).tolist(),
        ]

    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    # Python and NumPy cache the second number of each pair of normal draws.
    random.gauss(0, 1), np.random.standard_normal(), torch.randn(1)
    save_checkpoint(tmp_path / "c.safetensors", "search", {"random": random_states(CPU)})
    expected = draw()
    random.seed(4)
    np.random.seed(5)
    torch.manual_seed(6)
    assert draw() != expected
    restore_random_states(load_checkpoint(tmp_path / "c.safetensors")["random"], CPU)
    assert draw() == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("python", None),
        ("python", (3, (1, 2), None)),
        ("python", (3, (-1,) * 625, None)),
        ("torch", torch.zeros(5056)),
        ("torch", torch.zeros(7, dtype=torch.uint8)),
        ("numpy", ("MT19937", [0] * 623, 0, 0, 0.0)),
        ("numpy", ("MT19937", [0] * 624, 625, 0, 0.0)),
        ("numpy", ("PCG64", [0] * 624, 0, 0, 0.0)),
    ],
)
def test_a_damaged_state_is_refused_in_one_line(key: str, value: Any) -> None:
    before: Any = random_states(CPU)
    try:
        with pytest.raises(CheckpointError) as caught, checkpoint_errors(Path("file")):
            restore_random_states({**before, key: value}, CPU)
    finally:
        restore_random_states(before, CPU)
    assert "\n" not in str(caught.value)


def test_only_the_generator_of_the_own_gpu_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of visible GPUs must not matter when the run resumes."""
    states = {torch.device("cuda:1"): torch.arange(16, dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device].clone())
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: states.update({device: state})
    )
    saved = random_states(torch.device("cuda:1"))
    only = torch.device("cuda:0")  # the same GPU, if it is the only visible one
    restore_random_states(saved, only)
    assert torch.equal(states[only], torch.arange(16, dtype=torch.uint8))
    restore_random_states(saved, CPU)  # ignores the state of the GPU
