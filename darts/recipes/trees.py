"""Gradient-boosted trees on the rows of a table.

On many tables, they are the strongest model that takes seconds to train. Several settings train on
the rows that are not held out. The one with the best validation score trains on all rows again.

References:
    Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001.
    Ke et al., "LightGBM", NeurIPS 2017: histograms, which scikit-learn's implementation uses.
    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012.
"""

from __future__ import annotations

import importlib
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import torch
from torch import Tensor

from darts.config import RetrainConfig
from darts.data.encodings import RowEncoding
from darts.data.images import Images, MemoryImages
from darts.data.split import save_split
from darts.data_modules.data_module import DataModule
from darts.data_modules.samples import SampleDataModule
from darts.recipes.states import DataDescription
from darts.spaces import AnyGenotype, parse_genotype
from darts.spaces.trees import Nodes, TreeNetwork
from darts.tasks import Objective
from darts.training.checkpoint import FILE as CHECKPOINT
from darts.training.checkpoint import NETWORK, save_checkpoint
from darts.training.interrupt import Interrupted

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor


# Rows `(N, F)` and targets, see `darts.data.targets`.
Part = tuple[Tensor, Tensor]

# Settings if no time is given.
TRIALS = 10

# Hyperparameters of scikit-learn.
Settings = Mapping[str, int | float]

FIRST: Settings = {"max_iter": 10}
# The first settings: few trees, whose time says how many fit, and scikit-learn's defaults.
DEFAULT: Settings = {"max_iter": 100}

# The logit of a class that no training row has.
LOWEST = -30.0

# Trees on all rows, and the folder with a run directory for each part of the rows that is held out.
FILE = "trees.safetensors"
FOLDS = "trees"


@dataclass(frozen=True)
class TreeScores:
    """What the best setting has reached.

    Attributes:
        setting: Its hyperparameters of scikit-learn that differ from the defaults.
        valid: Its score on the rows that were held out, the mean over all parts; None if no score
            was a number.
        trials: Number of settings that were tried.
        seconds: Seconds that all training took.
    """

    setting: dict[str, int | float]
    valid: float | None
    trials: int
    seconds: float


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
        self.models: list[HistGradientBoostingClassifier | HistGradientBoostingRegressor] = [
            kind(early_stopping=False, random_state=seed, **setting).fit(rows, column, weight)
            for column in columns
        ]

    def __call__(self, rows: Tensor) -> Tensor:
        """Return logits or standardized numbers, ``(N, outputs)``, like a network."""
        if not self.classifies:
            columns = [model.predict(rows.numpy()) for model in self.models]
            return torch.from_numpy(np.stack(columns, axis=1)).float()
        (model,) = self.models
        logits = torch.full((len(rows), self.outputs), LOWEST)
        found = torch.from_numpy(model.predict_proba(rows.numpy())).float()
        logits[:, torch.from_numpy(model.classes_)] = found.log().clamp(min=LOWEST)
        return logits

    def network(self, genotype: AnyGenotype) -> TreeNetwork:
        """Return the trees as a network of the same function that reports a genotype."""
        start, trees = torch.zeros(self.outputs), list[tuple[int, Nodes]]()
        for column, model in enumerate(self.models):
            outputs = [column]
            if self.classifies:
                start.fill_(LOWEST)[torch.from_numpy(model.classes_)] = 0.0
                outputs = model.classes_.tolist()
                if len(outputs) == 2:  # scikit-learn has trees for the second class only
                    outputs = outputs[1:]
            start[outputs] = torch.from_numpy(model._baseline_prediction).flatten().float()
            trees += [
                (output, tree.nodes)
                for iteration in model._predictors
                for output, tree in zip(outputs, iteration, strict=True)
            ]
        return TreeNetwork.of(genotype, trees, start)


def boost_trees(
    config: RetrainConfig,
    folds: Sequence[SampleDataModule],
    seconds: float | None,
    directory: Path,
    stopping: Callable[[], bool] = lambda: False,
) -> TreeScores:
    """Train trees with several settings, and write the best ones to ``trees.safetensors``.

    ``darts.load`` and the commands accept this file like the checkpoint of a network. The folder
    ``trees`` has the trees of the same setting without each part that was held out.

    Args:
        config: Configuration of a retraining, with the steering metric and the seed.
        folds: Rows of a table for which ``can_boost`` is true, once for each held-out part.
        seconds: About how long training may take; the first setting, of few trees, always trains.
            None: ``TRIALS`` settings.
        directory: Where to write the file.
        stopping: Whether a signal has arrived; then Interrupted is raised after the next setting.
    """
    metric, seed = config.metric, config.seed
    importlib.import_module("sklearn.ensemble")  # takes as long as several settings
    begin, random = time.monotonic(), np.random.default_rng(seed)
    objective = folds[0].objective()
    steering = objective.metrics[metric]

    parts = [_parts(data) for data in folds]
    best: float | None = None
    best_trees: list[Trees] = []
    setting, best_setting, trials, rate = FIRST, FIRST, 0, math.inf
    while True:
        start = time.monotonic()
        trees = [Trees(t, data, setting, seed) for data, (t, _) in zip(folds, parts, strict=True)]
        rate = min(rate, (time.monotonic() - start) / _size(setting))
        found = statistics.fmean(
            _score(own, valid, objective)[metric]
            for own, (_, valid) in zip(trees, parts, strict=True)
        )
        if is_better := steering.prefers(found, best):
            best = found
        if is_better or not best_trees:
            best_setting, best_trees = setting, trees
        if stopping():
            raise Interrupted
        trials += 1
        setting = DEFAULT if trials == 1 else draw_setting(random)
        # The last training has all rows.
        last = 1.5 / len(folds) * _size(best_setting)
        after = time.monotonic() - begin + rate * (_size(setting) + last)
        if (trials == TRIALS) if seconds is None else (after > seconds):
            break
    for run, data, own in zip(fold_runs(directory, len(folds)), folds, best_trees, strict=True):
        save_split(run / "split.npz", data.subsets)
        _save(run / CHECKPOINT, own, config, data)
    data, (train, valid) = folds[0], parts[0]
    if data.source.valid is None:
        train = torch.cat([train[0], valid[0]]), torch.cat([train[1], valid[1]])
    _save(directory / FILE, Trees(train, data, best_setting, seed), config, data)
    return TreeScores(dict(best_setting), best, trials, time.monotonic() - begin)


def _score(trees: Trees, part: Part, objective: Objective) -> dict[str, float]:
    scores = objective.scores()
    scores.update(trees(part[0]), part)
    return scores.compute()


def fold_runs(directory: Path, folds: int) -> list[Path]:
    """Return the run directories of the trees without each of the held-out parts."""
    return [directory / FOLDS / str(number) for number in range(folds)]


def _save(file: Path, trees: Trees, config: RetrainConfig, data: SampleDataModule) -> None:
    network = trees.network(parse_genotype(config.genotype))
    content = {
        "config": asdict(config),
        **DataDescription.of(data, config.space).entries(),
        "trees": asdict(network.sizes),
        "best": {"epoch": 1, "scores": {}, "net": network.state_dict()},
    }
    save_checkpoint(file, NETWORK, content)


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
