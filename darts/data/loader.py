"""The interface of loaders, and what all of them share.

A batch is a pure function of (seed, name of the loader, epoch, step): its samples and its random
draws come from generators that these four identify. A run that resumes at any step therefore gets
the same batches as an uninterrupted run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from torch import Tensor

SampleBatch: TypeAlias = tuple[Tensor, Tensor]
"""Samples and their targets: classes ``(B,)`` int64, or K labels or numbers, ``(B, K)`` float32.
Samples are images, rows or spectrograms ``(B, C, H, W)``, or texts ``(L, B)`` int64."""


class Carry:
    """The state of a recurrent network between consecutive windows of a text.

    Attributes:
        state: State before the current window, ``(B, H)``; None for zeros.
        after: State after the current window, ``(B, H)``, without a gradient; the objective sets
            it.
    """

    def __init__(self) -> None:
        self.state: Tensor | None = None
        self.after: Tensor | None = None

    def advance(self) -> None:
        """Go to the next window."""
        self.state, self.after = self.after, None

    def reset(self) -> None:
        """Go to the beginning of the text."""
        self.state = self.after = None


class Window(NamedTuple):
    """A batch of consecutive tokens of a text.

    Attributes:
        tokens: Token indices, ``(T, B)`` int64.
        targets: The next tokens, ``(T, B)`` int64; ``IGNORE_INDEX`` after the end of the text.
        carry: The network's state before the window, and the place for the state after it.
        num_targets: Number of targets before the end of the text.
    """

    tokens: Tensor
    targets: Tensor
    carry: Carry
    num_targets: int


class PairBatch(NamedTuple):
    """A batch of sentence pairs, padded at the end.

    Attributes:
        sources: Words of the source sentences, ``(S, B)`` int64.
        inputs: Inputs of the decoder, ``(T, B)`` int64: ``BEGIN``, then the targets without the
            last word.
        targets: Targets of the decoder, ``(T, B)`` int64.
        references: The target sentences as text.
        num_targets: Number of words of all targets, with the ends of sentences.
    """

    sources: Tensor
    inputs: Tensor
    targets: Tensor
    references: tuple[str, ...]
    num_targets: int


Batch: TypeAlias = SampleBatch | Window | PairBatch
"""A batch of any loader."""

LoaderState: TypeAlias = dict[str, Tensor | None]
"""What a checkpoint saves of a loader."""

B = TypeVar("B", bound=Batch, covariant=True)


class PositionLoader(ABC, Generic[B]):
    """Base class of loaders. The position of a batch is ``epoch * len(self) + step``."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of steps per epoch."""

    @property
    @abstractmethod
    def batch_share(self) -> tuple[int, int]:
        """This rank's share of a full batch: index of its first sample, and size of the batch."""

    @abstractmethod
    def read(self, position: int) -> B:
        """Return the batch at a position."""

    def read_next(self, position: int) -> B:
        """Return the batch at a position; iterators call this with consecutive positions."""
        return self.read(position)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[B]:
        """Return the batches of one epoch, beginning with ``first_step``.

        The caller may abandon the iterator at any point.

        Raises:
            ValueError: If ``epoch`` is negative or ``first_step`` is not in 0 to ``len(self)``.
        """
        steps = len(self)
        if epoch < 0 or not 0 <= first_step <= steps:
            raise ValueError(
                f"epoch={epoch}, first_step={first_step}: epoch must be >= 0 and first_step must "
                f"be 0 to {steps}"
            )
        return self._iterate(epoch * steps + first_step, (epoch + 1) * steps)

    def stream(self, position: int = 0) -> Iterator[B]:
        """Return an endless iterator over the batches of all epochs, beginning at ``position``.

        Raises:
            ValueError: If ``position`` is negative.
        """
        if position < 0:
            raise ValueError(f"position={position}: must be >= 0")
        return self._iterate(position, None)

    def batch(self, epoch: int, step: int) -> B:
        """Return one batch without reading those before it.

        Raises:
            ValueError: If there is no such step.
        """
        steps = len(self)
        if epoch < 0 or not 0 <= step < steps:
            raise ValueError(
                f"epoch={epoch}, step={step}: epoch must be >= 0 and step must be 0 to {steps - 1}"
            )
        return self.read(epoch * steps + step)

    def _iterate(self, position: int, end: int | None) -> Iterator[B]:
        while end is None or position < end:
            yield self.read_next(position)
            position += 1

    def state_dict(self) -> LoaderState:
        """Return what the next batches depend on in addition to their position."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor | None]) -> None:
        """Restore ``state_dict``; by default there is nothing to restore."""

    def close(self) -> None:
        """End worker processes; by default there are none."""


Loader: TypeAlias = PositionLoader[Batch]
"""A loader of any kind of batch."""
