"""Batches as a pure function of (seed, stream, epoch, step).

The order of an epoch and the draws of a batch come from private generators named by those four, so
a run that resumes at any step sees the batches that the unbroken run saw, from memory or from
files, with any number of workers, on any device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from darts.data.augment import Augmenter, Normalization
from darts.data.images import DiskImages, Images, MemoryImages
from darts.data.randomness import generator
from darts.data.readers import DiskReader, MemoryReader
from darts.data.schedule import Schedule, rank_slice

__all__ = ["SampleLoader"]


class SampleLoader:
    """Normalized batches of some images of a data set.

    For evaluation: `shuffle=False, drop_last=False, augmentation=None`, which goes through the
    indices in their order, all of them, every epoch alike.

    Args:
        images: in memory (which then lives on `device` once, however many `SampleLoader` share it) or
            on disk.
        indices: (n,) int64, which of the images.
        batch_size: B.
        seed: of the run.
        stream: a name that sets the draws of this object apart from those of others of the same
            seed, such as "train".
        mean, std: by channel, in units of [0, 1].
        augmentation: None leaves the images as they are.
        shuffle: a new order every epoch.
        drop_last: leave out a smaller last batch, unless it is the only one.
        device: where the batches go.
        workers: processes that decode files; without effect for images in memory.
        dtype: of the images.
        rank, ranks: take the share of this rank of every batch, made as one process makes it whole.

    Raises:
        ValueError: if there are no indices or one is out of range, if `batch_size` is below 1 or
            `workers` below 0, if the number of channels differs, if the augmentation does not fit
            the images, or if a batch has fewer samples than there are ranks.
    """

    def __init__(
        self,
        images: Images,
        indices: Tensor,
        *,
        batch_size: int,
        seed: int,
        stream: str,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmenter | None,
        shuffle: bool,
        drop_last: bool,
        device: torch.device | str,
        workers: int = 0,
        dtype: torch.dtype = torch.float32,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        _check(images, indices, batch_size, mean, workers, stream)
        self.images = images
        self.augmentation = augmentation
        self.device = torch.device(device)
        self._normalize = Normalization(mean, std, self.device, dtype, images.levels)
        self._schedule = Schedule(
            indices,
            batch_size=batch_size,
            seed=seed,
            stream=stream,
            shuffle=shuffle,
            drop_last=drop_last,
        )
        self._steps = self._schedule.steps
        self._ranks = rank, ranks
        if self._schedule.smallest < ranks:
            raise ValueError(
                f"{stream}: a batch of {self._schedule.smallest} images cannot be shared by "
                f"{ranks} ranks; choose a larger loader.batch_size or fewer ranks"
            )
        if augmentation is not None:
            augmentation.check(images.shape, in_memory=isinstance(images, MemoryImages))
        self._memory: MemoryReader | None = None
        self._disk: DiskReader | None = None
        if isinstance(images, MemoryImages):
            self._memory = MemoryReader(images, self.device)
        elif isinstance(images, DiskImages):
            self._disk = DiskReader(
                images,
                self._schedule,
                workers=workers,
                resized=augmentation is not None and augmentation.of_files,
                pin=self.device.type == "cuda",
                rank=rank,
                ranks=ranks,
            )
        else:
            raise ValueError(f"images must be MemoryImages or DiskImages, not {type(images)}")

    def __len__(self) -> int:
        """Steps an epoch."""
        return self._steps

    @property
    def rows(self) -> tuple[int, int]:
        """The first sample of this rank in a batch, and the size of the whole, smaller last one
        apart."""
        whole = min(self._schedule.batch_size, len(self._schedule.indices))
        return rank_slice(whole, *self._ranks).start, whole

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch from step `start` on.

        Returns:
            An iterator of images (B, C, H, W), normalized, and labels (B,) int64, on the device.
            It may be left at any point.

        Raises:
            ValueError: if `epoch` is negative or `start` is not between 0 and the number of steps.
        """
        if epoch < 0 or not 0 <= start <= self._steps:
            raise ValueError(f"epoch {epoch}, start {start}: start must be 0 to {self._steps}")
        first = epoch * self._steps
        return (self._at(first + step) for step in range(start, self._steps))

    def stream(self, position: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches without end, epoch after epoch, from batch number `position` on.

        Raises:
            ValueError: if `position` is negative.
        """
        if position < 0:
            raise ValueError(f"position must be at least 0, not {position}")

        def endless() -> Iterator[tuple[Tensor, Tensor]]:
            place = position
            while True:
                yield self._at(place)
                place += 1

        return endless()

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """One batch at random access; files are decoded in this process.

        Raises:
            ValueError: if there is no such step.
        """
        if epoch < 0 or not 0 <= step < self._steps:
            raise ValueError(f"epoch {epoch}, step {step}: step must be 0 to {self._steps - 1}")
        return self._at(epoch * self._steps + step, ahead=False)

    def state_dict(self) -> dict[str, Any]:
        """What the batches to come depend on beside their place: nothing, here."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""

    def close(self) -> None:
        """End the worker processes, if there are any; they start again when needed."""
        if self._disk is not None:
            self._disk.close()

    def _at(self, position: int, ahead: bool = True) -> tuple[Tensor, Tensor]:
        chosen = self._schedule.chosen(position)
        # Row 0 holds the samples and the others the draws: one small copy to the device.
        plan = chosen[None]
        if self.augmentation is not None:
            private = generator(self._schedule.seed(position), "augment")
            _, height, width = self.images.shape
            draws = self.augmentation.draw(len(chosen), (height, width), private)
            plan = torch.cat([plan, draws])
        share = rank_slice(len(chosen), *self._ranks)
        chosen, plan = chosen[share], plan[:, share]
        overlap = self.device.type == "cuda"
        plan = plan.to(self.device, non_blocking=overlap)
        if self._memory is not None:
            pixels, labels = self._memory.read(plan[0])
        else:
            assert self._disk is not None
            pixels = self._disk.read(position, ahead=ahead).to(self.device, non_blocking=overlap)
            labels = self.images.labels[chosen].to(self.device)
        if self.augmentation is None:
            return self._normalize(pixels), labels
        return self.augmentation.apply(pixels, plan[1:], self._normalize), labels


def _check(
    images: Images,
    indices: Tensor,
    batch_size: int,
    mean: Sequence[float],
    workers: int,
    stream: str,
) -> None:
    if indices.ndim != 1 or indices.numel() == 0:
        raise ValueError(f"{stream}: there is nothing to make batches of: the index is empty")
    if indices.dtype != torch.int64 or indices.min() < 0 or indices.max() >= len(images):
        raise ValueError(f"{stream}: indices must be int64 between 0 and {len(images) - 1}")
    if batch_size < 1:
        raise ValueError(f"{stream}: batch_size must be at least 1, not {batch_size}")
    if workers < 0:
        raise ValueError(f"{stream}: workers must be at least 0, not {workers}")
    if len(mean) != images.shape[0]:
        raise ValueError(f"{stream}: {images.shape[0]} channels need as many means: {tuple(mean)}")
