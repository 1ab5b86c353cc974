"""Reading of batches from image files, with worker processes that decode files ahead of time.

The position of a batch is its number over all epochs: ``epoch * steps + step``. The workers live as
long as the reader and process one endless sequence of positions, across the ends of epochs. A jump
to another position discards what they have decoded and starts a new sequence in the same workers.
"""

from __future__ import annotations

import itertools
import os
import signal
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from darts.data.images import DiskImages
from darts.data.loader import Schedule, rank_slice

Answer = Tensor | OSError | ValueError
"""Pixels, or the error of a damaged file."""


@dataclass(frozen=True, eq=False)
class DiskBatches(Dataset[Answer]):
    """The pixels of each batch by its position, ``(B, 3, H, W)`` uint8; workers decode them."""

    images: DiskImages
    schedule: Schedule
    random_crops: bool  # random resized crops instead of center crops
    ranks: tuple[int, int]  # index of this process, and number of processes that share a batch

    def __getitem__(self, position: int) -> Answer:
        chosen = self.schedule.indices_at(position).tolist()
        seed = self.schedule.seed_at(position) if self.random_crops else None
        try:
            return self.images.read(chosen, seed, rank_slice(len(chosen), *self.ranks))
        except (OSError, ValueError) as error:
            # A raised exception would arrive with the worker's traceback in its message.
            return error


class _Positions(Sampler[int]):
    """All positions from ``first`` on."""

    def __init__(self) -> None:
        self.first = 0

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first)


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C reaches the workers too; the main process saves a checkpoint first, then ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_workers(answers: Any, owner: int) -> None:  # PyTorch's iterator, a private class
    if os.getpid() == owner:  # not in a worker, which inherits the finalizer by fork
        answers._shutdown_workers()


class DiskReader:
    """Decodes batches of image files, ahead of time if there are workers.

    With ``pin_memory``, it returns page-locked memory, for copies to a GPU.
    """

    def __init__(self, batches: DiskBatches, *, workers: int, pin_memory: bool) -> None:
        self._batches = batches
        self._positions = _Positions()
        # Positions that differ by a multiple of the period have the same pixels; 0: no two do.
        schedule = batches.schedule
        self._period = 0 if schedule.shuffle or batches.random_crops else schedule.steps
        self._next = 0  # position of the workers' next answer
        self._answers: Iterator[Answer] | None = None
        self._loader: DataLoader[Answer] | None = None
        self._finalizer: weakref.finalize[[Any, int], DiskReader] | None = None
        self._workers, self._pin_memory = workers, pin_memory

    def read(self, position: int, *, prefetch: bool) -> Tensor:
        """Return the pixels of a batch, ``(B, 3, H, W)`` uint8, on the CPU.

        With ``prefetch``, workers decode this batch and the following ones; otherwise this process
        decodes this batch.
        """
        if not prefetch or self._workers == 0:
            answer = self._batches[position]
        else:
            answer = self._read_from_workers(position)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _read_from_workers(self, position: int) -> Answer:
        # Forget the iterator until the answer has arrived: after an interrupt its next answer
        # could belong to another position.
        answers, self._answers = self._answers, None
        try:
            if answers is None or not self._same_pixels(position, self._next):
                answers = self._restart(position)
            answer = next(answers)
        except (OSError, RuntimeError) as error:
            self.close()
            raise RuntimeError(
                "a process that decodes images has ended, perhaps out of memory; set a smaller "
                "loader.workers"
            ) from error
        self._answers, self._next = answers, position + 1
        return answer

    def close(self) -> None:
        """End the workers; the next ``read`` starts new ones."""
        self._answers = None
        self._loader = None
        if self._finalizer is not None:
            self._finalizer()

    def _same_pixels(self, left: int, right: int) -> bool:
        return left == right or (self._period > 0 and (left - right) % self._period == 0)

    def _restart(self, position: int) -> Iterator[Answer]:
        if self._loader is None:
            self._loader = DataLoader(
                self._batches,
                batch_size=None,  # a position is a whole batch, for one worker
                sampler=self._positions,
                worker_init_fn=_ignore_interrupts,
                persistent_workers=True,
                num_workers=self._workers,
                pin_memory=self._pin_memory,
                # By default DataLoader draws a seed for its workers from the global generator.
                generator=torch.Generator(),
            )
        starts_workers = self._finalizer is None or not self._finalizer.alive
        self._positions.first = position
        answers = iter(self._loader)  # the same workers; drops answers that are not yet read
        if starts_workers:
            # Without this the garbage collector could delete the queues before the workers read the
            # signal to end from them; joining a worker would then time out after five seconds.
            self._finalizer = weakref.finalize(self, _end_workers, answers, os.getpid())
        return answers
