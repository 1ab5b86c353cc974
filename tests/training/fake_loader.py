"""A loader without data, for tests of what uses loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class FakeLoader:
    """A loader whose batches are pairs (epoch, step)."""

    batch_share = (0, 4)

    def __init__(self, steps: int, delivered: int = 0) -> None:
        self.steps, self.delivered = steps, delivered

    def __len__(self) -> int:
        return self.steps

    def batch(self, epoch: int, step: int) -> Any:
        return epoch, step

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Any]:
        for step in range(first_step, self.steps):
            self.delivered += 1
            yield epoch, step

    def state_dict(self) -> dict[str, Any]:
        return {"delivered": self.delivered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.delivered = state["delivered"]
