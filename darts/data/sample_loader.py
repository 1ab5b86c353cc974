"""A loader of images, rows and spectrograms, from memory or from files.

The number of workers and the device do not change the batches.

Worker processes decode image files ahead of time. The position of a batch is its number over all
epochs: ``epoch * steps + step``. The workers live as long as the reader and process one endless
sequence of positions, across the ends of epochs. A jump to another position discards what they have
decoded and starts a new sequence in the same workers.
"""

from __future__ import annotations

import itertools
import os
import signal
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from darts.data.augment import Augmentation, Normalization
from darts.data.images import DiskImages, Images, MemoryImages
from darts.data.loader import LoaderOptions, PositionLoader, SampleBatch, Schedule, rank_slice
from darts.data.randomness import generator
from darts.data.spec_augment import SpecAugment
from darts.process import main_module_hidden

# Pixels, or the error of a damaged file.
Answer = Tensor | OSError | ValueError


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
        is_random = schedule.options.shuffle or batches.random_crops
        self._period = 0 if is_random else schedule.steps
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
        with main_module_hidden():
            answers = iter(self._loader)  # the same workers; drops answers that are not yet read
        if starts_workers:
            # Without this the garbage collector could delete the queues before the workers read the
            # signal to end from them; joining a worker would then time out after five seconds.
            self._finalizer = weakref.finalize(self, _end_workers, answers, os.getpid())
        return answers


class SampleLoader(PositionLoader[SampleBatch]):
    """Normalized batches of samples ``(B, C, H, W)`` with their targets, see ``SampleBatch``.

    In evaluation, see ``LoaderOptions``, each epoch has all samples in the order of ``indices``.

    Args:
        images: Samples in memory or on disk. Loaders on the same device share one copy of samples
            in memory.
        indices: Samples to use, ``(n,)`` int64.
        mean, std: See ``Source``.
        workers: Number of processes that decode files; no effect on samples in memory.
    """

    def __init__(
        self,
        images: Images,
        indices: Tensor,
        options: LoaderOptions,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmentation | SpecAugment | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__(options, len(indices))
        self.images = images
        self.augmentation = augmentation
        self.mean, self.std, self._workers = tuple(mean), tuple(std), workers
        self._normalize = Normalization(mean, std, self.device, images.full_scale)
        self._schedule = Schedule(indices.cpu(), len(self), options)
        if augmentation is not None:
            in_memory, full_scale = isinstance(images, MemoryImages), images.full_scale
            augmentation.check(images.shape, in_memory=in_memory, full_scale=full_scale)
        self._memory: tuple[Tensor, Tensor] | None = None
        self._disk: DiskReader | None = None
        if isinstance(images, MemoryImages):
            self._memory = images.on(self.device)
        else:
            random_crops = augmentation is not None and augmentation.crops_files
            batches = DiskBatches(images, self._schedule, random_crops, self._ranks)
            self._disk = DiskReader(batches, workers=workers, pin_memory=self.device.type == "cuda")

    @property
    def indices(self) -> Tensor:
        """The samples that the loader uses, ``(n,)`` int64 on the CPU."""
        return self._schedule.indices

    def plain(self, indices: Tensor, batch_size: int) -> SampleLoader:
        """Return batches of any samples, in the order of ``indices``, without augmentation.

        Each rank gets whole batches.
        """
        options = LoaderOptions(
            batch_size, 0, "samples", shuffle=False, drop_last=False, device=self.device
        )
        return SampleLoader(
            self.images, indices, options, mean=self.mean, std=self.std, workers=self._workers
        )

    def read(self, position: int) -> SampleBatch:
        return self._read(position, prefetch=False)

    def read_next(self, position: int) -> SampleBatch:
        """Return the batch at a position; workers decode following batches ahead."""
        return self._read(position, prefetch=True)

    def _read(self, position: int, *, prefetch: bool) -> SampleBatch:
        chosen = self._schedule.indices_at(position)
        # Row 0 holds the indices, the other rows the random draws, so that one copy moves both.
        plan = chosen[None]
        if self.augmentation is not None:
            rng = generator(self._schedule.seed_at(position), "augment")
            _, height, width = self.images.shape
            draws = self.augmentation.draw(len(chosen), (height, width), rng)
            plan = torch.cat([plan, draws])
        # All ranks draw for the whole batch, so that it does not depend on their number.
        share = rank_slice(len(chosen), *self._ranks)
        chosen, plan = chosen[share], plan[:, share]
        non_blocking = self.device.type == "cuda"
        plan = plan.to(self.device, non_blocking=non_blocking)
        if self._memory is not None:
            pixels, labels = (tensor[plan[0]] for tensor in self._memory)
        else:
            assert self._disk is not None
            pixels = self._disk.read(position, prefetch=prefetch)
            pixels = pixels.to(self.device, non_blocking=non_blocking)
            labels = self.images.labels[chosen].to(self.device)
        if self.augmentation is None:
            return self._normalize(pixels), labels
        return self.augmentation.apply(pixels, plan[1:], self._normalize), labels
