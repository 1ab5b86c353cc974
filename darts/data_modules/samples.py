"""Samples of one fixed shape: images, rows of numbers, spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor

from darts.config.datasets import ImagesConfig
from darts.data import InputSpec, SampleLoader
from darts.data.augment import Augmentation
from darts.data.columns import describe
from darts.data.images import Images, MemoryImages
from darts.data.source import Source
from darts.data.spec_augment import SpecAugment
from darts.data_modules.data_module import DATA_MODULES
from darts.data_modules.labeled import LabeledDataModule
from darts.escaping import for_terminal
from darts.spaces import Space
from darts.tracking.formats import aligned
from darts.tracking.metrics import csv_text

# Columns of a table that are printed before the training.
SHOWN_COLUMNS = 40


@DATA_MODULES.register
class SampleDataModule(LabeledDataModule[Images]):
    """Batches ``(samples, labels)`` of a ``Source``."""

    name = "samples"
    data_kinds = ("images", "rows", "audio")
    source: Source

    def network_sizes(self, space: Space) -> dict[str, int]:
        return {
            "classes": len(self.target_names),
            "in_channels": space.in_channels(self.source.train.shape),
        }

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.source.train.shape

    def _describe_shape(self) -> str:
        return "x".join(map(str, self.sample_shape)).removesuffix("x1x1") + " inputs"

    def notes(self) -> list[str]:
        """Return a table of the columns, and how many test rows are also training rows."""
        source, columns = self.source, self.source.columns
        if not columns:
            return super().notes()
        rows = describe(columns[:SHOWN_COLUMNS])
        lines = aligned(rows)
        if len(columns) > SHOWN_COLUMNS:
            lines.append(f"and {len(columns) - SHOWN_COLUMNS:,} more; see columns.csv")
        train, test = source.train, source.test
        if isinstance(train, MemoryImages) and isinstance(test, MemoryImages):
            known = {hash(row.tobytes()) for row in train.pixels.numpy()}
            count = sum(hash(row.tobytes()) in known for row in test.pixels.numpy())
            if count:
                line = f"{count:,} of {len(test):,} test rows are equal to a training row"
                advice = "; if such rows belong together, set dataset.group"
                lines.append(line + ("" if source.groups else advice))
        return [*map(for_terminal, lines), *super().notes()]

    def extra_files(self) -> dict[str, str]:
        files = super().extra_files()
        if self.source.columns:
            files["columns.csv"] = csv_text(describe(self.source.columns))
        return files

    def example_input(self) -> Tensor:
        return torch.zeros(1, *self.sample_shape, device=self.ranks.device)

    def input_specs(self) -> list[InputSpec]:
        """Return the one input: the samples of a batch, ``(B, C, H, W)``."""
        source, shape = self.source, (2, *self.sample_shape)
        scale = source.train.full_scale
        return [InputSpec("samples", shape, {0: "batch"}, None, source.mean, source.std, scale)]

    def split_loader(
        self, split: Images, indices: Tensor, name: str, *, training: bool
    ) -> SampleLoader:
        return SampleLoader(
            split,
            indices,
            self.loader_options(name, training=training),
            mean=self.source.mean,
            std=self.source.std,
            augmentation=self._augmentation() if training else None,
            workers=self.config.loader.workers,
        )

    def _augmentation(self) -> Augmentation | SpecAugment | None:
        """Return the augmentation that the configuration of the data set describes."""
        own, cutout = self.config.dataset, self.config.cutout
        if isinstance(own, ImagesConfig):
            return Augmentation(own.crop, own.padding, own.flip, cutout, own.color_jitter)
        return own if isinstance(own, SpecAugment) else None
