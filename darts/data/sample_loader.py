"""A loader of images, rows and spectrograms, from memory or from files.

The number of workers and the device do not change the batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darts.data.augment import Augmentation, Normalization
from darts.data.disk_reader import DiskBatches, DiskReader
from darts.data.images import Images, MemoryImages
from darts.data.loader import PositionLoader, SampleBatch, Schedule, rank_slice
from darts.data.randomness import generator
from darts.data.spec_augment import SpecAugment


class SampleLoader(PositionLoader[SampleBatch]):
    """Normalized batches of samples ``(B, C, H, W)`` with their targets, see ``SampleBatch``.

    For evaluation use ``shuffle=False, drop_last=False, augmentation=None``: each epoch then has
    all samples in the order of ``indices``.

    Args:
        images: Samples in memory or on disk. Loaders on the same device share one copy of samples
            in memory.
        indices: Samples to use, ``(n,)`` int64.
        name: Name of the loader, such as "train". Loaders with different names draw random numbers
            independently. Error messages begin with the name.
        mean, std: See ``Source``.
        drop_last: Whether to drop a smaller last batch, unless it is the only one.
        workers: Number of processes that decode files; no effect on samples in memory.
        rank, ranks: Index of this process and number of processes that share every batch.
    """

    def __init__(
        self,
        images: Images,
        indices: Tensor,
        *,
        batch_size: int,
        seed: int,
        name: str,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmentation | SpecAugment | None,
        shuffle: bool,
        drop_last: bool,
        device: torch.device | str,
        workers: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__(
            name, len(indices), batch_size, drop_last=drop_last, rank=rank, ranks=ranks
        )
        self.images = images
        self.augmentation = augmentation
        self.device = torch.device(device)
        self.mean, self.std, self._workers = tuple(mean), tuple(std), workers
        self._normalize = Normalization(mean, std, self.device, images.full_scale)
        self._schedule = Schedule(indices.cpu(), batch_size, len(self), shuffle, (seed, name))
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
        return SampleLoader(
            self.images,
            indices,
            batch_size=batch_size,
            seed=0,
            name="samples",
            mean=self.mean,
            std=self.std,
            augmentation=None,
            shuffle=False,
            drop_last=False,
            device=self.device,
            workers=self._workers,
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
