"""Random states are restored exactly, and damaged ones are refused."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darts.training.checkpoint import load_checkpoint, save_checkpoint
from darts.training.random_states import random_states, restore_random_states
from darts.typed_values import Misfit

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
    save_checkpoint(tmp_path / "c.pt", "search", {"random": random_states(CPU)})
    expected = draw()
    random.seed(4)
    np.random.seed(5)
    torch.manual_seed(6)
    assert draw() != expected
    restore_random_states(load_checkpoint(tmp_path / "c.pt")["random"], CPU)
    assert draw() == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("python", None),
        ("python", (3, (1, 2), None)),
        ("python", (2, tuple(range(625)), None)),
        ("python", (3, (*range(624), 625), None)),
        ("python", (3, (-1,) * 625, None)),
        ("torch", torch.zeros(5056)),
        ("torch", torch.zeros(7, dtype=torch.uint8)),
        ("torch", torch.zeros(5056, dtype=torch.uint8)),
        ("numpy.key", torch.zeros(623, dtype=torch.int64)),
        ("numpy.key", torch.full((624,), -1)),
        ("numpy.key", torch.full((624,), 2**32)),
        ("numpy.key", torch.zeros(624)),
        ("numpy.pos", 625),
        ("numpy.pos", -1),
        ("numpy.pos", 10**18),
        ("numpy.has_gauss", 2),
        ("numpy.gauss", "0"),
    ],
)
def test_a_damaged_state_is_refused_in_one_line(key: str, value: Any) -> None:
    states: Any = copy.deepcopy(random_states(CPU))
    target = states
    *outer, last = key.split(".")
    for name in outer:
        target = target[name]
    target[last] = value
    before = random_states(CPU)
    try:
        with pytest.raises(Misfit) as caught:
            restore_random_states(states, CPU)
    finally:
        restore_random_states(before, CPU)
    assert "random" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_state_is_refused() -> None:
    for name in ("python", "numpy", "torch"):
        states: Any = random_states(CPU)
        del states[name]
        with pytest.raises(Misfit, match=f"random.{name} is missing"):
            restore_random_states(states, CPU)


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
