"""Recipes that follow from the data: learning rate, batch size, augmentation, regularization.

``docs/recipes.md`` lists the same rules for users, with reasons.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from darts.config import RetrainConfig, SearchConfig
from darts.data.targets import NUMBERS
from darts.data_modules import DataModule
from darts.data_modules.compatibility import data_kind

# Values of a configuration by dotted key.
Values = dict[str, float | int | str | bool | list[int]]


# Largest share of the training samples that is held out for validation.
MAX_SHARE = 0.2


def validation_share(samples: int) -> float:
    """Return the share of the training samples to hold out.

    It gives about 2,000 validation samples, but at least a tenth and at most a fifth of the
    training samples. More validation samples make the choice between networks more reliable.
    """
    return min(max(round(2000 / max(samples, 1), 3), 0.1), MAX_SHARE)


@dataclass(frozen=True)
class DataFacts:
    """Kind and size of a data set."""

    kind: str  # see ``darts.data.source.SourceSpec.kinds``
    samples: int  # of training, without held-out validation samples; for a text, training tokens
    targets: int  # number of classes, words or tokens
    shape: tuple[int, ...]  # of one sample, for images and spectrograms (C, H, W); () for texts
    # Share of the training samples that is held out; 0 if the data has a validation split.
    validation: float = 0.0
    has_numbers: bool = False  # whether the targets are numbers

    @property
    def side(self) -> int:
        """The shorter side of an image in pixels, or the length of a sequence; 0 for other data."""
        return min((side for side in self.shape[1:] if side > 1), default=0)

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
        has_numbers = config.task.targets == NUMBERS
        return cls(kind, samples, len(data.target_names), shape, share, has_numbers)


@dataclass(frozen=True)
class Setting:
    """Hyperparameters that differ from the recipe, with a name for tables and directories."""

    name: str
    values: Values

    @property
    def augments(self) -> bool:
        """Whether the last change only adds to the random changes of training images."""
        return self.name.rpartition("+")[2] in ("flip", "shift", "cutout")


DEFAULT = Setting("default", {})


def recipe(facts: DataFacts, *, fine_tunes: bool = False) -> Values:
    """Return the recipe of all retrainings on a data set, by dotted key.

    ``fine_tunes`` says whether networks begin with trained weights, see ``FINE_TUNING``.

    The learning rate rises in about ``RISE`` steps. Then it is constant or decays with the steps
    themselves, not with their share of a planned number, so a run can be continued. A polynomial
    average of the weights is scored, which makes up for the missing fall.
    """
    size = batch_size(facts)
    steps = max(facts.samples // (size * (WINDOW if facts.kind == "text" else 1)), 1)
    values: Values = {
        "optimizer.momentum": 0.9,
        "optimizer.lr_min": 0.0,
        "optimizer.schedule": "stable",
        "optimizer.warmup_epochs": math.ceil(RISE / steps),
        "warmup": 0.0,
        "average_power": POWER,
        "loader.batch_size": size,
        "loader.eval_batch_size": 256,
        "label_smoothing": 0.0,
    }
    values |= _OF_KIND[facts.kind](facts)
    if facts.has_numbers:
        values["label_smoothing"] = 0.0
    return values | (FINE_TUNING if fine_tunes else {})


def batch_size(facts: DataFacts) -> int:
    """Return the batch size: a power of two from 16 to 128, so that an epoch has about 40 steps.

    For a text, it is the number of parallel columns: a power of two from 16 to 64, so that an epoch
    has about 300 windows. Fewer columns would hardly train faster.
    """
    if facts.kind == "text":
        return _power_of_two(facts.samples / (300 * WINDOW), 16, 64)
    return _power_of_two(facts.samples / 40, 16, 128)


def max_epochs(facts: DataFacts) -> int:
    """Return the number of epochs after which further epochs hardly improve the score.

    A run sees 600,000 samples in this number of epochs, but has at least 30 and at most 300
    epochs. Networks for texts soon memorize the training texts, so they get fewer epochs: four
    million tokens of running text in 10 to 30 epochs, or 100,000 documents in 10 to 60 epochs.
    """
    if facts.kind == "text":
        return min(max(round(4_000_000 / max(facts.samples, 1)), 10), 30)
    if facts.kind == "documents":
        return min(max(round(100_000 / max(facts.samples, 1)), 10), 60)
    return min(max(round(600_000 / max(facts.samples, 1)), 30), 300)


def settings(
    facts: DataFacts, values: Mapping[str, object], fixed: Collection[str]
) -> list[Setting]:
    """Return settings that ``darts find`` compares with a recipe, the most promising first.

    No setting changes the keys in ``fixed``, which the user has set.
    """
    lr, decay = float(str(values["optimizer.lr"])), float(str(values["optimizer.weight_decay"]))
    proposed = [
        Setting("lr_low", {"optimizer.lr": lr / 2.5}),
        Setting("lr_high", {"optimizer.lr": 2.5 * lr}),
        Setting("decay_high", {"optimizer.weight_decay": 4 * decay}),
        Setting("decay_low", {"optimizer.weight_decay": decay / 4}),
    ]
    if facts.kind == "images":
        flip, shifts = values.get("dataset.flip") is True, values.get("dataset.crop") != "none"
        flipped: Values = {"dataset.flip": not flip, "mirror": not flip}
        shifted: Values = {"dataset.crop": "none" if shifts else "pad"}
        low, *others = proposed
        proposed = [
            Setting("no_flip" if flip else "flip", flipped),
            low,
            Setting("no_shift" if shifts else "shift", shifted),
            Setting("cutout", {"cutout": max(facts.side // 3, 1)}),
            *others,
        ]
    elif "space.dropout" in values:
        dropout = float(str(values["space.dropout"]))
        proposed += [
            Setting("dropout_high", {"space.dropout": min(dropout + 0.2, 0.6)}),
            Setting("dropout_low", {"space.dropout": dropout / 4}),
        ]
    return [setting for setting in proposed if not fixed & setting.values.keys()]


# Tokens per window of a text.
WINDOW = 64

# Steps in which the learning rate rises.
RISE = 100

# Steps of networks for images in which the learning rate decays by the square root of 2, as long as
# they do not memorize. On Fashion-MNIST, the validation accuracy is 0.7 points higher after eight
# epochs than at a constant rate; 250 steps are better there, and worse on sums of digits
# (experiments/README.md).
TIMESCALE = 1000

# Power of the polynomial average of the weights: it covers about the last ninth of the steps.
POWER = 8.0

# Learning rate of images, divided by the batch size: with equal ratios, batches of different sizes
# learn equally well per epoch (Goyal et al., arXiv:1706.02677, section 2.1). In
# experiments/learning_rates.py, half of this rate is five points worse on sums of digits; on other
# sets, the differences may be chance. `darts find` also tries a lower rate, if time allows.
LR_PER_SAMPLE = 0.1 / 32

# Up to this number of training tokens, networks for running text get more dropout.
SHORT_TEXT = 30_000


# What differs if networks begin with trained weights. On 1,500 photos of CIFAR-10 at 64 pixels,
# EfficientNet-Lite0 has 69.2 % after three epochs (61.0 % before them); half and twice the rate
# give 68.7 % and 65.3 %, decays of 0.6 and 1 give 67.1 % and 68.5 % (one seed, 1,000 test images).
FINE_TUNING: Values = {
    "loader.batch_size": 32,
    "loader.eval_batch_size": 32,
    "optimizer.lr": 0.01,
    "optimizer.layer_decay": 0.8,
    "optimizer.warmup_epochs": 1,
}


# Regularization that helps only in runs of hundreds of epochs is off.
_UNREGULARIZED: Values = {"optimizer.clip": 5.0, "auxiliary": 0.0, "drop_path": 0.0, "cutout": 0}


def _images(facts: DataFacts) -> Values:
    own: Values = {
        # Larger batches do not fit the caches of a CPU and take up to 1.7 times as long.
        "loader.eval_batch_size": 64,
        "optimizer.lr": LR_PER_SAMPLE * batch_size(facts),
        "dataset.padding": min(max(round(facts.side / 16), 1), 64),
    }
    return _audio(facts) | own


def _audio(facts: DataFacts) -> Values:
    return {
        "optimizer.algorithm": "sgd",
        "optimizer.nesterov": True,
        "optimizer.timescale": TIMESCALE,
        "optimizer.lr": 0.1,
        "optimizer.weight_decay": 5e-4,
        "label_smoothing": 0.1,
        **_UNREGULARIZED,
    }


def _rows(facts: DataFacts) -> Values:
    return _adam(0.004, 0.05) | {"space.dropout": 0.1} | _UNREGULARIZED


def _text(facts: DataFacts) -> Values:
    return _adam(0.004, 0.01) | {
        "space.dropout": 0.1 if facts.samples > SHORT_TEXT else 0.3,
        "task.window": WINDOW,
        "loader.eval_batch_size": 8,
    }


def _documents(facts: DataFacts) -> Values:
    is_large = facts.samples > 20_000
    return _adam(0.002, 0.05) | {
        "space.dropout": 0.2 if is_large else 0.4,
        "dataset.lowercase": True,
        "dataset.min_count": 2 if is_large else 1,
        "dataset.max_length": 200,
    }


def _pairs(facts: DataFacts) -> Values:
    return _adam(0.002, 1e-5)


def _adam(lr: float, decay: float) -> Values:
    return {
        "optimizer.algorithm": "adam",
        "optimizer.lr": lr,
        "optimizer.weight_decay": decay,
        "optimizer.clip": 1.0,
    }


_OF_KIND = {
    "images": _images,
    "audio": _audio,
    "rows": _rows,
    "text": _text,
    "documents": _documents,
    "pairs": _pairs,
}


def _power_of_two(value: float, low: int, high: int) -> int:
    return int(min(max(2 ** round(math.log2(max(value, 1))), low), high))
