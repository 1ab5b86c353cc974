"""Samples that stand for themselves, each with a class: images, rows of numbers, spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from darts.data import (
    Augmentation,
    Images,
    SampleLoader,
    Source,
    SpecAugment,
    rank_slice,
    stratified_split,
    stratified_subset,
)
from darts.data_modules.data_module import DataModule, InputSpec, SearchLoaders
from darts.training.distributed import Ranks

# Keys of the data set's configuration that say how its training samples are changed.
_IMAGES = ("crop", "padding", "flip")
_SPECTROGRAMS = ("frequency_masks", "frequency_width", "time_masks", "time_width", "shift")


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


class SampleDataModule(DataModule):
    """Batches ``(samples, labels)`` of a ``Source``."""

    source: Source

    def __init__(self, config: Any, ranks: Ranks) -> None:
        super().__init__(config, ranks)
        self.target_names = tuple(self.source.classes)
        loader = config.loader
        self._common: dict[str, Any] = {
            "seed": config.seed,
            "mean": self.source.mean,
            "std": self.source.std,
            "device": ranks.device,
            "workers": loader.workers,
        }

    @classmethod
    def uses(cls) -> tuple[str, ...]:
        return (*super().uses(), *_IMAGES, *_SPECTROGRAMS)

    def network_sizes(self, space: Any) -> dict[str, int]:
        """``classes`` and ``in_channels``."""
        return {
            "classes": len(self.target_names),
            "in_channels": space.in_channels(self.source.train.shape),
        }

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """``(C, H, W)``."""
        return tuple(self.source.train.shape)

    def example_input(self) -> Tensor:
        """One sample ``(1, C, H, W)`` of zeros."""
        return torch.zeros(1, *self.sample_shape, device=self.ranks.device)

    def input_specs(self) -> list[InputSpec]:
        """A batch of samples."""
        mean, std = self.source.mean, self.source.std
        return [InputSpec("samples", (2, *self.sample_shape), {0: "batch"}, mean=mean, std=std)]

    def search_loaders(self) -> SearchLoaders:
        """One stratified part of the training samples for the weights, the other for the alphas."""
        config, train = self.config, self.source.train
        weights, alphas = self._divided(config.train_portion, f"train_portion={config.train_portion}")
        self.subsets = {"weights": weights, "alphas": alphas}
        return SearchLoaders(
            self.training(train, weights, "weights"),
            self.training(train, alphas, "alphas"),
            self.evaluation(train, alphas),
        )

    def retrain_loaders(self) -> tuple[SampleLoader, SampleLoader | None]:
        """Training samples, of which some are held out where the publisher did not do so."""
        config, source = self.config, self.source
        valid = None
        if config.validation > 0 and source.valid is None:
            share, key = 1 - config.validation, f"validation={config.validation}"
            indices, held = self._divided(share, key)
            self.subsets = {"train": indices, "valid": held}
            valid = self.evaluation(source.train, held)
        else:
            indices = training_indices(source, config.dataset.subset, config.seed)
            self.subsets = {"train": indices}
            if config.validation > 0 and source.valid is not None:
                valid = self.evaluation(source.valid)
        return self.training(source.train, indices, "train", cutout=config.cutout), valid

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> SampleLoader | None:
        """The test split, or what a retraining was judged by."""
        images, indices = (self.source.test, None) if split == "test" else (self.source.valid, None)
        if split == "valid" and images is None and "valid" in subsets:
            images, indices = self.source.train, subsets["valid"]
        return None if images is None else self.evaluation(images, indices)

    def _divided(self, share: float, key: str) -> list[Tensor]:
        config = self.config
        indices = training_indices(self.source, config.dataset.subset, config.seed)
        return divide(self.source, indices, share, seed=config.seed, key=key)

    def training(
        self, images: Images, indices: Tensor, stream: str, *, cutout: int = 0
    ) -> SampleLoader:
        """Shuffled, augmented batches without a smaller last one.

        Raises:
            ValueError: when cutout is asked of a data set of no images, or masks do not fit.
        """
        return SampleLoader(
            images,
            indices,
            batch_size=self.config.loader.batch_size,
            stream=stream,
            augmentation=self._augmentation(cutout),
            shuffle=True,
            drop_last=True,
            rank=self.ranks.rank,
            ranks=self.ranks.size,
            **self._common,
        )

    def _augmentation(self, cutout: int) -> Augmentation | SpecAugment | None:
        """What is done to training samples, by what the configuration of their set offers."""
        if images := self._changes(_IMAGES):
            return Augmentation(**images, cutout=cutout)
        if cutout:
            raise ValueError(
                f"cutout={cutout} erases a part of an image, and a sample of "
                f"{self.config.dataset.name} is none; set cutout=0"
            )
        spectrograms = self._changes(_SPECTROGRAMS)
        return SpecAugment(**spectrograms) if spectrograms else None

    def _changes(self, keys: tuple[str, ...]) -> dict[str, Any]:
        """The values of these keys, where the data set has them all."""
        dataset = self.config.dataset
        if not all(hasattr(dataset, key) for key in keys):
            return {}
        return {key: getattr(dataset, key) for key in keys}

    def evaluation(self, images: Images, indices: Tensor | None = None) -> SampleLoader:
        """All images once, in order, as they are; on several ranks, a share of them each.

        Raises:
            ValueError: when there are fewer images than ranks.
        """
        size = self.ranks.size
        indices = torch.arange(len(images)) if indices is None else indices
        if len(indices) < size:
            raise ValueError(f"{len(indices)} images to score cannot be shared by {size} ranks")
        return SampleLoader(
            images,
            indices[rank_slice(len(indices), self.ranks.rank, size)],
            batch_size=-(-self.config.loader.eval_batch_size // size),
            stream="evaluation",
            augmentation=None,
            shuffle=False,
            drop_last=False,
            **self._common,
        )
