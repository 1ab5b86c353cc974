"""Save the states of the global random generators as plain values, and check them on restoring."""

from __future__ import annotations

import random
from typing import Annotated, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from darts.typed_values import Misfit, Within, typed


class NumpyState(TypedDict):
    """State of NumPy's global generator, MT19937."""

    key: Tensor  # (624,) int64
    pos: Annotated[int, Within(0, 624)]  # next number of the key
    has_gauss: Literal[0, 1]  # whether the second number of a normal pair is cached
    gauss: float  # the cached number


class _CpuStates(TypedDict):
    python: tuple[Literal[3], tuple[int, ...], float | None]  # of random.getstate
    numpy: NumpyState
    torch: Tensor  # (n,) uint8


class RandomStates(_CpuStates, total=False):
    """States of all global generators; that of a GPU only if the run is on one."""

    cuda: Tensor  # (n,) uint8
    mps: Tensor  # (n,) uint8


def random_states(device: torch.device) -> RandomStates:
    """Return the states of the global generators of Python, NumPy and PyTorch as plain values.

    Args:
        device: Device of the run. The generators of other GPUs do not belong to it, so the number
            of visible GPUs may change before the run resumes.
    """
    numpy_state = np.random.get_state(legacy=False)
    assert isinstance(numpy_state, dict)
    states: RandomStates = {
        "python": random.getstate(),
        "numpy": {
            "key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
            "pos": int(numpy_state["state"]["pos"]),
            "has_gauss": 1 if numpy_state["has_gauss"] else 0,
            "gauss": float(numpy_state["gauss"]),
        },
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
        Misfit: If a state is missing, or does not fit its generator.
    """
    states = typed(RandomStates, saved, "random")
    key = states["numpy"]["key"]
    # NumPy checks neither the numbers of the key nor the position.
    if key.shape != (624,) or key.dtype != torch.int64 or key.min() < 0 or key.max() >= 2**32:
        raise Misfit("random.numpy.key is not a state of NumPy's generator")
    try:
        random.setstate(states["python"])
        np.random.set_state(
            {
                "bit_generator": "MT19937",
                "state": {"key": key.numpy().astype(np.uint32), "pos": states["numpy"]["pos"]},
                "has_gauss": states["numpy"]["has_gauss"],
                "gauss": states["numpy"]["gauss"],
            }
        )
        torch.set_rng_state(states["torch"])
        if "cuda" in states and device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], device)
        if "mps" in states and device.type == "mps":
            torch.mps.set_rng_state(states["mps"])
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise Misfit(f"random does not hold states of the generators: {error}") from None
