"""From a configuration's data set to batches: the first lines of every command."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from darts.data import (
    Augmentation,
    Batches,
    Images,
    Source,
    SpecAugment,
    load,
    share_of,
    stratified_split,
    stratified_subset,
)
from darts.engine.distributed import Ranks

# Keys of the data set's configuration that say what is done with its samples, not what they are.
_IMAGES = ("crop", "padding", "flip")
_SPECTROGRAMS = ("frequency_masks", "frequency_width", "time_masks", "time_width", "shift")
_USES = ("name", "subset", *_IMAGES, *_SPECTROGRAMS)


def load_source(dataset: Any) -> Source:
    """Load the data set of a configuration, a dataclass with ``name`` and the loader's options.

    Raises:
        ValueError: in one line, when files are missing or damaged, or an option does not fit.
    """
    options = {
        field.name: getattr(dataset, field.name)
        for field in dataclasses.fields(dataset)
        if field.name not in _USES
    }
    return load(dataset.name, **options)


def training_indices(source: Source, subset: int | None, seed: int) -> Tensor:
    """Which of the training images to use: all, or a stratified subset; ``(n,)`` int64.

    Raises:
        ValueError: when the subset is larger than the training split.
    """
    if subset is None:
        return torch.arange(len(source.train))
    if subset > len(source.train):
        raise ValueError(
            f"dataset.subset={subset} is more than the {len(source.train)} training images of "
            f"{source.name}"
        )
    return stratified_subset(source.train.labels, subset, seed=seed)


def divide(source: Source, indices: Tensor, share: float, *, seed: int, key: str) -> list[Tensor]:
    """Cut the given training images in two, stratified: the first part gets the share.

    Args:
        source: the data set.
        indices: which of its training images to use, ``(n,)`` int64.
        share: of the first part, between 0 and 1.
        seed: of the run.
        key: the setting that the share comes from, with its value, for the error.

    Raises:
        ValueError: when a part would be empty.
    """
    parts = stratified_split(source.train.labels[indices], [share, 1 - share], seed=seed)
    if not all(len(part) for part in parts):
        raise ValueError(
            f"{key} of {len(indices)} training images in {len(source.classes)} classes leaves a "
            "part without any; take more images or a share nearer to 0.5"
        )
    return [indices[part] for part in parts]


class Feeder:
    """Makes the batches of one run, so that what they have in common is said once.

    Args:
        source: the data set.
        dataset: its configuration.
        loader: sizes of batches and number of workers.
        seed: of the run.
        ranks: who take a share of each batch; they say where the batches go.
    """

    def __init__(
        self, source: Source, dataset: Any, loader: Any, *, seed: int, ranks: Ranks
    ) -> None:
        self.ranks = ranks
        self.dataset = dataset
        self.loader = loader
        self.common: dict[str, Any] = {
            "seed": seed,
            "mean": source.mean,
            "std": source.std,
            "device": ranks.device,
            "workers": loader.workers,
        }

    def training(self, images: Images, indices: Tensor, stream: str, *, cutout: int = 0) -> Batches:
        """Shuffled, augmented batches without a smaller last one.

        Raises:
            ValueError: when cutout is asked of a data set of no images, or masks do not fit.
        """
        return Batches(
            images,
            indices,
            batch_size=self.loader.batch_size,
            stream=stream,
            augmentation=self._augmentation(cutout),
            shuffle=True,
            drop_last=True,
            rank=self.ranks.rank,
            ranks=self.ranks.size,
            **self.common,
        )

    def _augmentation(self, cutout: int) -> Augmentation | SpecAugment | None:
        """What is done to training samples, by what the configuration of their set offers."""
        if images := self._changes(_IMAGES):
            return Augmentation(**images, cutout=cutout)
        if cutout:
            raise ValueError(
                f"cutout={cutout} erases a part of an image, and a sample of {self.dataset.name} "
                "is none; set cutout=0"
            )
        spectrograms = self._changes(_SPECTROGRAMS)
        return SpecAugment(**spectrograms) if spectrograms else None

    def _changes(self, keys: tuple[str, ...]) -> dict[str, Any]:
        """The values of these keys, where the data set has them all."""
        if not all(hasattr(self.dataset, key) for key in keys):
            return {}
        return {key: getattr(self.dataset, key) for key in keys}

    def evaluation(self, images: Images, indices: Tensor | None = None) -> Batches:
        """All images once, in order, as they are; on several ranks, a share of them each.

        Raises:
            ValueError: when there are fewer images than ranks.
        """
        size = self.ranks.size
        indices = torch.arange(len(images)) if indices is None else indices
        if len(indices) < size:
            raise ValueError(f"{len(indices)} images to score cannot be shared by {size} ranks")
        return Batches(
            images,
            indices[share_of(len(indices), self.ranks.rank, size)],
            batch_size=-(-self.loader.eval_batch_size // size),
            stream="evaluation",
            augmentation=None,
            shuffle=False,
            drop_last=False,
            **self.common,
        )
