"""Save the states of the global random generators as plain values, and restore them."""

from __future__ import annotations

import random
from typing import Annotated, Literal, TypedDict

import msgspec
import numpy as np
import torch
from torch import Tensor

from darts.typed_values import typed

_Position = Annotated[int, msgspec.Meta(ge=0, le=624)]  # NumPy does not check it


class _CpuStates(TypedDict):
    python: tuple[Literal[3], tuple[int, ...], float | None]  # of random.getstate
    numpy: tuple[Literal["MT19937"], list[int], _Position, int, float]  # of numpy.random.get_state
    torch: Tensor  # (n,) uint8


class RandomStates(_CpuStates, total=False):
    """States of all global generators, including the GPU if the run is on one."""

    cuda: Tensor  # (n,) uint8
    mps: Tensor  # (n,) uint8


def random_states(device: torch.device) -> RandomStates:
    """Return the states of the global generators of Python, NumPy and PyTorch as plain values.

    Args:
        device: Device of the run. The generators of other GPUs do not belong to it, so the number
            of visible GPUs may change before the run resumes.
    """
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    states: RandomStates = {
        "python": random.getstate(),
        "numpy": ("MT19937", state[1].tolist(), *state[2:]),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(saved: object, device: torch.device) -> None:
    """Restore what ``random_states`` returned; ignore the state of a GPU of another kind.

    Raises:
        Misfit: If a state is missing or has another type.
        ValueError, TypeError, OverflowError, RuntimeError: If a state does not fit its generator.
    """
    states = typed(RandomStates, saved, "random")
    random.setstate(states["python"])
    name, key, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, np.array(key, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    if "mps" in states and device.type == "mps":
        torch.mps.set_rng_state(states["mps"])
