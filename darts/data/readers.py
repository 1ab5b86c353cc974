"""Pixels of one batch after another, from memory or from files.

A reader is asked for a position, the number of a batch counted over all epochs. The files are
decoded ahead by worker processes that live as long as the reader: one endless stream of requests
feeds them, across the ends of epochs, and a jump to another position discards what was decoded
ahead and starts a new stream in the same workers.
"""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from darts.data.images import DiskImages, MemoryImages
from darts.data.schedule import Schedule, rank_slice

__all__ = ["DiskReader", "MemoryReader"]

# The samples of a batch, the seed of their crops, and which of them to decode.
Request = tuple[list[int], int, slice]


class MemoryReader:
    """Indexes a tensor that lives on the device."""

    def __init__(self, images: MemoryImages, device: torch.device) -> None:
        self.pixels, self.labels = images.on(device)

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) pixels and (B,) int64 on the device, for (B,) indices on it."""
        return self.pixels[indices], self.labels[indices]


class _Decoder(Dataset[Tensor]):
    """What a worker runs. It answers with the pixels, or with one line about a broken file."""

    def __init__(self, images: DiskImages, resized: bool) -> None:
        self.images = images
        self.resized = resized

    def __getitem__(self, request: Any) -> Any:
        indices, seed, share = request
        try:
            return self.images.read(indices, seed if self.resized else None, share)
        except ValueError as error:
            # An exception would come back with the worker's traceback in its message.
            return str(error)


class _Requests(Sampler[Any]):
    """An endless stream of requests that begins wherever `position` stands."""

    def __init__(self, schedule: Schedule, rank: int, ranks: int) -> None:
        self.schedule = schedule
        self.ranks = rank, ranks
        self.position = 0

    def request(self, position: int) -> Request:
        chosen = self.schedule.chosen(position).tolist()
        return chosen, self.schedule.seed(position), rank_slice(len(chosen), *self.ranks)

    def __iter__(self) -> Iterator[Request]:
        position = self.position
        while True:
            yield self.request(position)
            position += 1


def _as_it_is(answer: Any) -> Any:
    return answer


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C reaches the whole process group; the main process saves first, then ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_workers(stream: Any, owner: int) -> None:
    if os.getpid() == owner:  # not in a worker, which has inherited this by fork
        stream._shutdown_workers()


class DiskReader:
    """Decodes batches of files, ahead of time if there are workers.

    Args:
        images: the files.
        schedule: which samples make up the batch at a position.
        workers: number of processes; 0 decodes when asked, in this one.
        resized: random resized crops rather than whole pictures.
        pin: return page-locked memory, for copies to a GPU.
        rank, ranks: decode this rank's share of every batch.
    """

    def __init__(
        self,
        images: DiskImages,
        schedule: Schedule,
        *,
        workers: int,
        resized: bool,
        pin: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._decoder = _Decoder(images, resized)
        self._requests = _Requests(schedule, rank, ranks)
        # Positions that differ by a multiple of the period hold the same pixels; 0: none do.
        self._period = 0 if schedule.shuffle or resized else schedule.steps
        self._next = 0  # the position that the stream of the workers stands at
        self._stream: Iterator[Any] | None = None
        self._loader: DataLoader[Any] | None = None
        self._end: weakref.finalize[[Any, int], DiskReader] | None = None
        self._settings: dict[str, Any] = {"num_workers": workers, "pin_memory": pin}

    def read(self, position: int, *, ahead: bool = True) -> Tensor:
        """(B, 3, H, W) uint8 on the CPU; `ahead=False` leaves the workers and their stream alone.

        Raises:
            ValueError: in one line that names a file which cannot be read.
            RuntimeError: if a worker has died.
        """
        if not ahead or self._settings["num_workers"] == 0:
            answer = self._decoder[self._requests.request(position)]
        else:
            answer = self._read_ahead(position)
        if isinstance(answer, str):
            raise ValueError(answer)
        return answer

    def _read_ahead(self, position: int) -> Any:
        # Until the answer is there the stream counts as lost: nothing may be taken for the batch
        # of another position if this is interrupted.
        stream, self._stream = self._stream, None
        try:
            if stream is None or not self._same(position, self._next):
                stream = self._restart(position)
            answer = next(stream)
        except (OSError, RuntimeError) as error:
            self.close()
            raise RuntimeError(
                "a process that decodes images has ended; it may have run out of memory"
            ) from error
        self._stream, self._next = stream, position + 1
        return answer

    def close(self) -> None:
        """End the workers; the next `read` starts new ones."""
        self._stream = None
        self._loader = None
        if self._end is not None:
            self._end()

    def _same(self, left: int, right: int) -> bool:
        return left == right or (self._period > 0 and (left - right) % self._period == 0)

    def _restart(self, position: int) -> Iterator[Any]:
        if self._loader is None:
            self._loader = DataLoader(
                self._decoder,
                batch_size=None,  # a request is a whole batch, and goes to one worker
                sampler=self._requests,
                collate_fn=_as_it_is,
                worker_init_fn=_ignore_interrupts,
                persistent_workers=True,
                # The loader draws a seed for its workers, by default from the global generator.
                generator=torch.Generator(),
                **self._settings,
            )
        first = self._end is None or not self._end.alive
        self._requests.position = position
        stream = iter(self._loader)  # the same workers; answers still under way are dropped
        if first:
            # Left to the garbage collector, the queues may go before the workers have heard that
            # they should end, and each is then waited for in vain for five seconds.
            self._end = weakref.finalize(self, _end_workers, stream, os.getpid())
        return stream
