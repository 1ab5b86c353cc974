"""Random states are restored exactly, and damaged ones are refused."""

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
from darts.training.device import random_states, restore_random_states

CPU = torch.device("cpu")


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
