"""What recipes depend on: kind and size of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from darts.config import RetrainConfig, SearchConfig
from darts.data_modules import DataModule
from darts.data_modules.compatibility import data_kind

MAX_SHARE = 0.2
"""Largest share of the training samples that is held out for validation."""


def validation_share(samples: int) -> float:
    """Return the share of the training samples to hold out.

    It gives about 2,000 validation samples, but at least a tenth and at most a fifth of the
    training samples. More validation samples make the choice between networks more reliable.
    """
    return min(max(round(2000 / max(samples, 1), 3), 0.1), MAX_SHARE)


@dataclass(frozen=True)
class DataFacts:
    """Kind and size of a data set.

    Attributes:
        kind: Kind of the data, see ``darts.data.SourceSpec.kinds``: "images", "rows", "audio",
            "text", "documents" or "pairs".
        samples: Number of training samples, without held-out validation samples; for a text, number
            of training tokens.
        targets: Number of classes, words or tokens.
        shape: Shape of one sample, for images and spectrograms ``(C, H, W)``; empty for texts.
        validation: Share of the training samples that is held out for validation; 0 if the data has
            a validation split.
    """

    kind: str
    samples: int
    targets: int
    shape: tuple[int, ...]
    validation: float = 0.0

    @property
    def side(self) -> int:
        """The shorter side of an image in pixels; 0 for other data."""
        return min(self.shape[1:]) if len(self.shape) == 3 else 0

    def resized(self, side: object) -> DataFacts:
        """Return the facts for images of ``side`` by ``side`` pixels; None keeps the size."""
        if not isinstance(side, int):
            return self
        return replace(self, shape=(*self.shape[:-2], side, side))

    @classmethod
    def read(cls, config: SearchConfig | RetrainConfig, data: DataModule) -> DataFacts:
        """Return the facts of the loaded data of a search or a retraining.

        For data without a validation split, the facts assume that ``validation_share`` of the
        training samples is held out, whatever the configuration says.
        """
        if not data.subsets:
            data.retrain_loaders()  # sets the subsets
        kind, subsets = data_kind(config), list(data.subsets.values())
        if isinstance(config, SearchConfig) and config.train_portion == 1:
            subsets = subsets[:1]  # both subsets are the whole training split
        # The subset of a text with N tokens is [0, N].
        total = int(subsets[0][-1]) if kind == "text" else sum(map(len, subsets))
        has_split = data.held_out_loader("valid", {}) is not None
        share = 0.0 if has_split else validation_share(total)
        samples = round(total * (1 - share))
        shape = () if kind == "pairs" else tuple(data.sample_shape)
        return cls(kind, samples, len(data.target_names), shape, share)
