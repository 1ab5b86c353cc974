"""Gradient-boosted trees on the rows of a table, to compare networks with them.

On many tables, they are the strongest model that takes seconds to train. Several settings train on
the training rows. The one with the best validation score trains on all rows again, and is scored on
the test split.

References:
    Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001.
    Ke et al., "LightGBM", NeurIPS 2017: histograms, which scikit-learn's implementation uses.
    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from darts.data.encodings import RowEncoding
from darts.data.images import Images, MemoryImages
from darts.data_modules.data_module import DataModule
from darts.data_modules.samples import SampleDataModule
from darts.judging.resampling import paired_interval
from darts.reading import JsonObject, read_npz
from darts.recipes.gain import SampleScores, score_samples
from darts.recipes.trained import TrainedNetwork
from darts.tasks.metrics import Numbers
from darts.tracking.formats import format_duration, format_value, is_fraction
from darts.training.distributed import Ranks
from darts.writing import open_atomically


class Boosting(Protocol):
    """What both kinds of trees of scikit-learn have; ``classes_`` and probabilities only one."""

    classes_: NDArray[np.int64]

    def predict(self, rows: Numbers) -> Numbers: ...

    def predict_proba(self, rows: Numbers) -> Numbers: ...


Part = tuple[Tensor, Tensor]
"""Rows ``(N, F)`` and targets, see ``darts.data.targets``."""

TRIALS = 10
"""Settings if no time is given."""

Settings = Mapping[str, int | float]
"""Hyperparameters of scikit-learn."""

FIRST: Settings = {"max_iter": 10}
DEFAULT: Settings = {"max_iter": 100}
"""The first settings: few trees, whose time says how many fit, and scikit-learn's defaults."""

FILE = "trees.npz"


@dataclass(frozen=True)
class TreeScores:
    """Scores of the best setting.

    Attributes:
        setting: Its hyperparameters of scikit-learn that differ from the defaults.
        valid: Its score on validation rows, after training on the other training rows; None if no
            score was a number.
        test: All scores on the test split by name that are numbers, after training on all training
            rows; empty without test targets.
        trials: Number of settings that were tried.
        seconds: Seconds that all training took.
    """

    setting: dict[str, int | float]
    valid: float | None
    test: dict[str, float]
    trials: int
    seconds: float

    def summary(self, metric: str) -> JsonObject:
        """Return the entries of ``summary.json``."""
        test = {f"tree_test_{name}": score for name, score in self.test.items()}
        valid = {f"tree_valid_{metric}": self.valid}
        return {**valid, **test, "tree_setting": self.setting, "tree_seconds": self.seconds}

    def note(self, metric: str, results: Numbers, network: SampleScores) -> str:
        """Return a sentence that compares the trees with a network on the test split.

        Args:
            metric: Name of the steering metric.
            results: Results of the trees for single samples, see ``Metric.rows``.
            network: Scores of the network.
        """
        own, other = self.test[metric], network.scores[metric]
        better = own > other if network.metric.higher_is_better else own < other
        bounds = paired_interval(results, network.results, network.metric.value)
        factor, unit = (100, " points") if is_fraction(metric) else (1, "")
        difference = f"{factor * (own - other):+.3g}{unit}"
        verdict = "which may be chance"
        if bounds is not None:
            low, high = (factor * bound for bound in bounds)
            difference += f" (95 % interval {low:+.3g} to {high:+.3g})"
            if low * high > 0:
                verdict = f"the {'trees are' if better else 'network is'} better"
        name = f"test_{metric}"
        return (
            f"Gradient-boosted trees, the best of {self.trials} settings in "
            f"{format_duration(self.seconds)}, have a {name} of {format_value(name, own)}; trees "
            f"minus network is {difference}, {verdict}."
        )


class Trees:
    """Trees that predict the targets of one setting, one model per number.

    Args:
        part: Training rows.
        data: Their data set.
        setting: Hyperparameters of scikit-learn.
        seed: Seed of the draws of columns.
    """

    def __init__(self, part: Part, data: SampleDataModule, setting: Settings, seed: int) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        rows, targets = (own.numpy() for own in part)
        self.outputs, self.classifies = len(data.target_names), targets.ndim == 1
        kind = HistGradientBoostingClassifier if self.classifies else HistGradientBoostingRegressor
        columns = [targets] if self.classifies else list(targets.T)
        weights = getattr(data.objective(), "weights", None)  # of classes
        weight = None if weights is None else weights[part[1]].numpy()
        self.models: list[Boosting] = [
            kind(early_stopping=False, random_state=seed, **setting).fit(rows, column, weight)
            for column in columns
        ]

    def __call__(self, rows: Tensor) -> Tensor:
        """Return logits or standardized numbers, ``(N, outputs)``, like a network."""
        if not self.classifies:
            columns = [model.predict(rows.numpy()) for model in self.models]
            return torch.from_numpy(np.stack(columns, axis=1)).float()
        (model,) = self.models
        logits = torch.full((len(rows), self.outputs), -30.0)
        found = torch.from_numpy(model.predict_proba(rows.numpy())).float()
        logits[:, torch.from_numpy(model.classes_)] = found.log().clamp(min=-30)
        return logits


def boost_trees(
    data: SampleDataModule, metric: str, seconds: float | None, seed: int
) -> tuple[TreeScores, Numbers]:
    """Train trees with several settings; return the scores and the results of the best one.

    Args:
        data: Rows of a table for which ``can_boost`` is true.
        metric: Name of the steering metric.
        seconds: About how long it may take; the first setting, of few trees, always trains. None:
            ``TRIALS`` settings.
        seed: Seed of the settings.

    Returns:
        The scores, and the results of single test samples for the metric, see ``Metric.rows``.
    """
    begin, random = time.monotonic(), np.random.default_rng(seed)
    importlib.import_module("sklearn.ensemble")  # takes longer than the first setting
    objective = data.objective()
    steering = objective.metrics[metric]

    def score(trees: Trees, part: Part) -> dict[str, float]:
        scores = objective.scores()
        scores.update(trees(part[0]), part)
        return {name: value for name, value in scores.compute().items() if math.isfinite(value)}

    train, valid = _parts(data)
    best: float | None = None
    setting, best_setting, trials, rate = FIRST, FIRST, 0, math.inf
    while True:
        start = time.monotonic()
        trees = Trees(train, data, setting, seed)
        rate = min(rate, (time.monotonic() - start) / _size(setting))
        found = score(trees, valid).get(metric, math.nan)
        if steering.prefers(found, best):
            best, best_setting = found, setting
        trials += 1
        setting = DEFAULT if trials == 1 else draw_setting(random)
        # The last training has all rows.
        after = time.monotonic() - begin + rate * (_size(setting) + 1.5 * _size(best_setting))
        if (trials == TRIALS) if seconds is None else (after > seconds):
            break
    if data.source.valid is None:
        train = torch.cat([train[0], valid[0]]), torch.cat([train[1], valid[1]])
    test: dict[str, float] = {}
    results = np.empty((0, 1))
    if data.source.test is not None:
        trees = Trees(train, data, best_setting, seed)
        part = _part(data.source.test)
        test = score(trees, part)
        results = steering.rows(objective, trees(part[0]), part).double().numpy()
    elapsed = time.monotonic() - begin
    return TreeScores(dict(best_setting), best, test, trials, elapsed), results


def _size(setting: Settings) -> float:
    """Return the leaves of all trees; the training time is about proportional to them."""
    return setting["max_iter"] * setting.get("max_leaf_nodes", 31)


def draw_setting(random: np.random.Generator) -> Settings:
    """Return random hyperparameters of ``HistGradientBoosting``."""
    return {
        "max_iter": round(np.exp(random.uniform(np.log(30), np.log(1000)))),
        "learning_rate": float(np.exp(random.uniform(np.log(0.02), np.log(0.3)))),
        "max_leaf_nodes": int(random.choice([4, 8, 16, 31, 63, 127])),
        "min_samples_leaf": int(random.choice([2, 5, 10, 20, 50])),
        "l2_regularization": float(random.choice([0.0, 0.1, 1.0, 10.0])),
        "max_features": float(random.choice([0.3, 0.5, 0.75, 1.0])),
    }


def can_boost(data: DataModule, metric: str) -> TypeGuard[SampleDataModule]:
    """Return whether data are rows of a table with several classes, or numbers, as targets."""
    if not isinstance(data, SampleDataModule) or not isinstance(data.encoding, RowEncoding):
        return False
    labels = data.source.train.labels
    has_targets = labels.ndim == 1 or data.target_scale is not None
    several = len(torch.unique(labels[data.subsets["train"]], dim=0)) > 1
    return has_targets and several and metric in data.objective().metrics


def save_results(directory: Path, results: Numbers) -> None:
    """Write the results of trees on test samples to a run directory."""
    with open_atomically(directory / FILE) as file:
        np.savez_compressed(file, results=results)


def compare_trees(directory: Path, trees: TreeScores, metric: str) -> str:
    """Return a sentence that compares trees with a network; empty without test targets.

    Args:
        directory: Run directory with the results of the trees, and the checkpoint of the network.
        trees: The scores of the trees.
        metric: Name of the steering metric.
    """
    if metric not in trees.test:
        return ""
    results = read_npz(directory / FILE)["results"]
    trained = TrainedNetwork.load(str(directory))
    return trees.note(metric, results, score_samples(trained, metric, Ranks("cpu"), "test"))


def _part(split: Images, indices: Tensor | None = None) -> Part:
    """Return the rows and targets of a split, or of some of its samples."""
    assert isinstance(split, MemoryImages)  # as all tables are
    kept = torch.arange(len(split)) if indices is None else indices
    return split.pixels[kept].flatten(1), split.labels[kept]


def _parts(data: SampleDataModule) -> tuple[Part, Part]:
    """Return training and validation rows with their targets."""
    source = data.source
    train = _part(source.train, data.subsets["train"])
    if source.valid is not None:
        return train, _part(source.valid)
    return train, _part(source.train, data.subsets["valid"])
