"""What the recipes of ``darts.find`` depend on: kind and size of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from darts.config import RetrainConfig
from darts.data_modules import DataModule
from darts.data_modules.compatibility import data_kind


@dataclass(frozen=True)
class DataFacts:
    """Kind and size of a data set.

    Attributes:
        kind: Kind of the data, see ``darts.data.SourceSpec.kinds``: "images", "rows", "audio",
            "text", "documents" or "pairs".
        samples: Training samples without held-out validation samples; for a text, its training
            tokens.
        targets: Number of classes, words or tokens.
        shape: Shape of one sample, for images and spectrograms ``(C, H, W)``; empty for texts.
    """

    kind: str
    samples: int
    targets: int
    shape: tuple[int, ...]

    @property
    def side(self) -> int:
        """The shorter side of an image in pixels; 0 for other data."""
        return min(self.shape[1:]) if len(self.shape) == 3 else 0

    def resized(self, side: object) -> DataFacts:
        """Return the facts of images of another size, ``side`` by ``side``; the same for None."""
        if not isinstance(side, int):
            return self
        return replace(self, shape=(*self.shape[:-2], side, side))

    @classmethod
    def read(cls, config: RetrainConfig, data: DataModule) -> DataFacts:
        """Return the facts of the loaded data of a retraining."""
        data.retrain_loaders()  # sets the subsets
        train = data.subsets["train"]
        kind = data_kind(config)
        samples = int(train[-1]) if kind == "text" else len(train)
        return cls(kind, samples, len(data.target_names), tuple(data.sample_shape))
