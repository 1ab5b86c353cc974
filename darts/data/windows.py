"""A stream of tokens cut into windows, with what a recurrent network carries from one to the next.

The stream is laid in B columns that are read side by side, T tokens at a time. The state after a
window is where the next one begins, without a gradient: truncated back-propagation through time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from darts.data.randomness import mix

__all__ = ["IGNORE_INDEX", "Carry", "Window", "WindowLoader"]

IGNORE_INDEX = -100
"""The target of a place that holds no token, as ``torch.nn.functional.cross_entropy`` has it."""


class Carry:
    """The state of a network between the windows of one stream.

    Attributes:
        state: at the beginning of the present window, ``(B, H)``; None for zeros.
        after: at its end, by whoever ran the window last; without a gradient.
    """

    def __init__(self) -> None:
        self.state: Tensor | None = None
        self.after: Tensor | None = None

    def move(self) -> None:
        """Go to the next window."""
        self.state, self.after = self.after, None

    def reset(self) -> None:
        """Go to the beginning of the stream."""
        self.state = self.after = None


class Window(NamedTuple):
    """A batch of text.

    Attributes:
        tokens: ``(T, B)`` int64.
        targets: the tokens that follow, ``(T, B)`` int64; ``IGNORE_INDEX`` behind the end.
        carry: the state in which the window begins, and where to leave that in which it ends.
    """

    tokens: Tensor
    targets: Tensor
    carry: Carry


class WindowLoader:
    """Windows of a stream as a pure function of (seed, stream, epoch, step), the carry apart.

    In training each epoch begins at another of the first T places, so that windows are cut
    elsewhere; the number of steps is the same in each.

    Args:
        tokens: ``(N,)`` int64.
        columns: B, read side by side.
        length: T, the longest window.
        seed: of the run.
        stream: a name that sets the draws of this object apart from those of others.
        shift: whether epochs begin elsewhere. Otherwise every token but the first is a target once
            an epoch.
        device: where the windows go.

    Raises:
        ValueError: in one line, if the stream is too short for a window.
    """

    def __init__(
        self,
        tokens: Tensor,
        *,
        columns: int,
        length: int,
        seed: int,
        stream: str,
        shift: bool,
        device: torch.device,
    ) -> None:
        pairs = len(tokens) - 1
        height = pairs // columns if shift else -(-pairs // columns)
        steps = (height - length + 1) // length if shift else -(-height // length)
        if steps < 1:
            raise ValueError(
                f"{stream}: {len(tokens)} tokens in {columns} columns are too few for windows of "
                f"{length}; choose a smaller loader.batch_size or task.window"
            )
        self.length, self.shift = length, shift
        self.carry = Carry()
        self._name = (seed, stream)
        self._steps = steps
        self._columns = columns
        self._inputs = self._laid(tokens[:-1], height, 0).to(device)
        self._targets = self._laid(tokens[1:], height, IGNORE_INDEX).to(device)

    def _laid(self, stream: Tensor, height: int, filler: int) -> Tensor:
        """The stream in columns, ``(height, B)``."""
        whole = height * self._columns
        missing = max(0, whole - len(stream))
        padded = torch.cat([stream[:whole], stream.new_full((missing,), filler)])
        return padded.view(self._columns, height).t().contiguous()

    def __len__(self) -> int:
        """Steps an epoch."""
        return self._steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Window]:
        """The windows of one epoch from step ``start`` on, each where the one before it ended."""
        return self._from(epoch * self._steps + start, (epoch + 1) * self._steps)

    def stream(self, position: int = 0) -> Iterator[Window]:
        """Windows without end, epoch after epoch, from window number ``position`` on."""
        return self._from(position, None)

    def batch(self, epoch: int, step: int) -> Window:
        """One window at random access, which begins in a state of zeros."""
        return self._at(epoch * self._steps + step, Carry())

    def _from(self, position: int, end: int | None) -> Iterator[Window]:
        while end is None or position < end:
            if position % self._steps == 0:
                self.carry.reset()
            else:
                self.carry.move()
            yield self._at(position, self.carry)
            position += 1

    def _at(self, position: int, carry: Carry) -> Window:
        epoch, step = divmod(position, self._steps)
        first = mix(*self._name, "begin", epoch) % self.length if self.shift else 0
        rows = slice(first + step * self.length, first + (step + 1) * self.length)
        return Window(self._inputs[rows], self._targets[rows], carry)

    def state_dict(self) -> dict[str, Any]:
        """Where the network stands at the end of the last window."""
        return {"state": self.carry.state, "after": self.carry.after}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        device = self._inputs.device
        self.carry.state, self.carry.after = (
            None if state[name] is None else state[name].to(device) for name in ("state", "after")
        )

    def close(self) -> None:
        """Nothing to end."""
