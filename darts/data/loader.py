"""The interface of loaders, and the samples of each batch.

A batch is a pure function of (seed, name of the loader, epoch, step): its samples and its random
draws come from generators that these four identify. A run that resumes at any step therefore gets
the same batches as an uninterrupted run. All ranks of a run use the same batches; each takes a
share of every batch.
"""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from darts.data.randomness import permutation, seed_for

# Samples and their targets: classes `(B,)` int64, or K labels or numbers, `(B, K)` float32.
# Samples are images, rows or spectrograms `(B, C, H, W)`, or texts `(L, B)` int64.
SampleBatch: TypeAlias = tuple[Tensor, Tensor]


@dataclass(eq=False)
class Carry:
    """The states of a recurrent network before and after a window of a text, ``(B, H)``."""

    state: Tensor | None = None  # before the window; None for zeros
    after: Tensor | None = None  # without a gradient; the objective sets it


class Window(NamedTuple):
    """A batch of consecutive tokens of a text."""

    tokens: Tensor  # (T, B) int64
    targets: Tensor  # the next tokens; IGNORE_INDEX after the end of the text
    carry: Carry
    num_targets: int  # before the end of the text


class PairBatch(NamedTuple):
    """A batch of sentence pairs, padded at the end."""

    sources: Tensor  # words, (S, B) int64
    inputs: Tensor  # of the decoder, (T, B) int64: BEGIN, then the targets without the last word
    targets: Tensor  # of the decoder, (T, B) int64
    references: tuple[str, ...]  # the target sentences as text
    num_targets: int  # words of all targets, with the ends of sentences


# A batch of any loader.
Batch: TypeAlias = SampleBatch | Window | PairBatch

# What a checkpoint saves of a loader.
LoaderState: TypeAlias = dict[str, Tensor | None]

B = TypeVar("B", bound=Batch, covariant=True)


@dataclass(frozen=True)
class LoaderOptions:
    """Options that all loaders share.

    For evaluation use ``shuffle=False, drop_last=False``.

    Attributes:
        batch_size: Samples of a full batch.
        name: Name of the loader, such as "train". Loaders with different names draw random numbers
            independently. Error messages begin with the name.
        drop_last: Whether to drop a smaller last batch, unless it is the only one.
        device: Where the batches are.
        rank, ranks: Index of this process and number of processes that share every batch.
    """

    batch_size: int
    seed: int
    name: str
    shuffle: bool
    drop_last: bool
    device: torch.device
    rank: int = 0
    ranks: int = 1


class PositionLoader(ABC, Generic[B]):
    """Base class of loaders. The position of a batch is ``epoch * len(self) + step``.

    An epoch has ``count`` samples.
    """

    def __init__(self, options: LoaderOptions, count: int) -> None:
        name, ranks = options.name, options.ranks
        if not count:
            raise ValueError(f"{name}: there are no samples; use a larger subset")
        size = min(options.batch_size, count)
        full, rest = divmod(count, size)
        has_smaller = rest > 0 and not options.drop_last
        smallest = rest if has_smaller else size
        if smallest < ranks:
            raise ValueError(
                f"{name}: a batch of {smallest} samples cannot be shared by {ranks} ranks; choose "
                "another loader.batch_size or fewer ranks"
            )
        self._steps, self._size, self._ranks = full + has_smaller, size, (options.rank, ranks)
        self.options, self.device = options, options.device
        self._generator_name = options.seed, name

    def __len__(self) -> int:
        return self._steps

    @property
    def batch_share(self) -> tuple[int, int]:
        """This rank's share of a full batch: index of its first sample, and size of the batch."""
        return rank_slice(self._size, *self._ranks).start, self._size

    @abstractmethod
    def read(self, position: int) -> B:
        """Return the batch at a position."""

    def read_next(self, position: int) -> B:
        """Return the batch at a position; iterators call this with consecutive positions."""
        return self.read(position)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[B]:
        """Yield the batches of one epoch, beginning with ``first_step``.

        The caller may abandon the iterator at any point.
        """
        for step in range(first_step, len(self)):
            yield self.read_next(epoch * len(self) + step)

    def stream(self, position: int = 0) -> Iterator[B]:
        """Yield the batches of all epochs without end, beginning at ``position``."""
        return map(self.read_next, itertools.count(position))

    def batch(self, epoch: int, step: int) -> B:
        """Return one batch without reading those before it."""
        return self.read(epoch * len(self) + step)

    def state_dict(self) -> LoaderState:
        """Return what the next batches depend on in addition to their position."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor | None]) -> None:
        """Restore ``state_dict``; by default there is nothing to restore."""


# A loader of any kind of batch.
Loader: TypeAlias = PositionLoader[Batch]


def rank_slice(count: int, rank: int, ranks: int) -> slice:
    """Return a rank's share of ``count`` items: contiguous, of sizes that differ by at most one.

    >>> [rank_slice(7, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    size, rest = divmod(count, ranks)
    start = rank * size + min(rank, rest)
    return slice(start, start + size + (rank < rest))


@dataclass(frozen=True, eq=False)
class Schedule:
    """Divides indices into batches; with ``shuffle``, in a new order in every epoch."""

    indices: Tensor  # (n,) int64, on the CPU
    steps: int  # batches per epoch
    options: LoaderOptions

    def indices_at(self, position: int) -> Tensor:
        """Return the samples of a batch, ``(B,)`` int64 on the CPU."""
        epoch, step = divmod(position, self.steps)
        size, seed, name = self.options.batch_size, self.options.seed, self.options.name
        batch = slice(step * size, (step + 1) * size)
        if not self.options.shuffle:
            return self.indices[batch]
        return self.indices[_order(len(self.indices), seed, name, epoch)[batch]]

    def seed_at(self, position: int) -> int:
        """Return the seed of all random draws of a batch."""
        seed, name = self.options.seed, self.options.name
        return seed_for(seed, name, "batch", *divmod(position, self.steps))


@functools.lru_cache(maxsize=8)  # each of several loaders reads ahead into the next epoch
def _order(count: int, seed: int, name: str, epoch: int) -> Tensor:
    return permutation(count, seed, name, "order", epoch)
