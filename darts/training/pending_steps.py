"""Values of training steps that are still on the device.

Reading a value makes the host wait for the device. On a GPU the values of many steps are therefore
read at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS_PER_READ = 50


@dataclass(frozen=True)
class StepValues:
    """Values of one step.

    Attributes:
        epoch, step: The step, both from 0.
        names: Names of the values.
        values: ``(1 + len(names),)``: the number of samples of all ranks, then the values.
    """

    epoch: int
    step: int
    names: Sequence[str]
    values: Tensor


@dataclass(frozen=True)
class ReadStep:
    """The values of a step as numbers."""

    epoch: int
    step: int
    num_samples: int
    values: dict[str, float]


class PendingSteps:
    """Steps whose values have not been read.

    Args:
        device: Device of the values. On a CPU, where reading costs nothing, every step is due.
    """

    def __init__(self, device: torch.device) -> None:
        self._limit = 1 if device.type == "cpu" else STEPS_PER_READ
        self._steps: list[StepValues] = []

    def add(self, step: StepValues) -> bool:
        """Add a step; return whether it is time to read."""
        self._steps.append(step)
        return len(self._steps) >= self._limit

    def read(self) -> list[ReadStep]:
        """Return the values of all pending steps, with one copy from the device to the CPU."""
        steps, self._steps = self._steps, []
        if not steps:
            return []
        rows = torch.cat([step.values for step in steps]).tolist()
        read, begin = [], 0
        for step in steps:
            count, *values = rows[begin : begin + 1 + len(step.names)]
            begin += 1 + len(values)
            named = dict(zip(step.names, values, strict=True))
            read.append(ReadStep(step.epoch, step.step, int(count), named))
        return read

    def discard(self) -> None:
        """Forget all pending steps."""
        self._steps = []
