"""Ensembles: the choice of their networks, and their checkpoint.

References:
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models",
    ICML 2004: forward selection (section 2), with replacement (section 2.1).
    Breiman, "Bagging Predictors", 1996: the selection is unstable, so it is repeated on bootstrap
    samples and averaged.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.data.encodings import RowEncoding
from darts.data.targets import CLASSES
from darts.data_modules import load_options
from darts.recipes.calibration import validation_outputs
from darts.recipes.states import DATA_FIELDS
from darts.recipes.temperature import fit_temperature, save_temperature
from darts.recipes.trained import Member, TrainedNetwork, uses_bins
from darts.spaces.averaging import Ensemble, mean_outputs
from darts.tasks.sample_objective import SampleTask
from darts.training.checkpoint import FILE, NETWORK, StateDict, save_checkpoint
from darts.training.distributed import Ranks

# Number of bootstrap samples. If they would have more samples than the limit, there are fewer.
DRAWS, LEAST_DRAWS, LIMIT = 50, 5, 50_000


@dataclass(frozen=True)
class Choice:
    """An ensemble that validation samples have chosen.

    Attributes:
        counts: How often each candidate counts.
        score: The score of the ensemble.
        outputs: Its outputs, ``(N, K)``.
        targets: The targets.
        kind: The kind of targets, see ``darts.data.targets``.
    """

    counts: list[int]
    score: float
    outputs: Tensor
    targets: Tensor
    kind: str

    def calibrate(self, directory: Path) -> None:
        """Save the temperature of a classifier in its checkpoint."""
        if self.kind == CLASSES:
            save_temperature(directory, fit_temperature(self.outputs, self.targets))


def choose_members(
    candidates: Sequence[Sequence[Path]], metric: str, *, higher_is_better: bool
) -> Choice:
    """Return the ensemble that is the best on average over bootstrap samples of validation data.

    Each sample of this data chooses an ensemble by ``greedy_selection``, and the counts are added.
    One choice by all data would often be a network with a lucky score.

    A candidate has one run, or several with different samples held out; then the score is the mean
    of the scores on each part. All candidates have the same validation samples, in the same order.
    """
    parts = []
    for runs in zip(*candidates, strict=True):
        found = [validation_outputs(run, Ranks("cpu")) for run in runs]
        parts.append(([outputs for outputs, _, _ in found], *found[0][1:]))
    kind = TrainedNetwork.load(str(candidates[0][0])).config.task.targets
    scoring, sign = parts[0][-1].metrics[metric], 1 if higher_is_better else -1
    sizes = [len(targets) for _, targets, _ in parts]
    draw, draws = np.random.default_rng(0), max(LEAST_DRAWS, min(DRAWS, LIMIT // sum(sizes)))
    # How often each validation sample counts.
    drawn = [[draw.multinomial(n, np.full(n, 1 / n)) for n in sizes] for _ in range(draws)]

    def mean_of(outputs: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
        chosen = [index for index, count in enumerate(counts) if count]
        return mean_outputs([outputs[i] for i in chosen], [counts[i] for i in chosen], kind)

    @functools.cache
    def rows_of(counts: tuple[int, ...]) -> list[np.ndarray]:
        means = [(mean_of(outputs, counts), *others) for outputs, *others in parts]
        return [scoring.rows(own, mean, (mean, targets)).numpy() for mean, targets, own in means]

    def score(counts: Sequence[int], times: Sequence[np.ndarray]) -> float:
        rows = rows_of(tuple(counts))
        scores = [scoring.value(n[None], own)[0] for n, own in zip(times, rows, strict=True)]
        return sign * statistics.fmean(map(float, scores))

    size = len(candidates)
    chosen = [greedy_selection(size, partial(score, times=n), rounds=2 * size) for n in drawn]
    total = np.sum(chosen, axis=0)
    counts = [int(count) for count in total // np.gcd.reduce(total)]
    outputs = torch.cat([mean_of(outputs, counts) for outputs, _, _ in parts])
    targets = torch.cat([targets for _, targets, _ in parts])
    once = [np.ones(n) for n in sizes]
    return Choice(counts, sign * score(counts, once), outputs, targets, kind)


def greedy_selection(
    size: int, score: Callable[[Sequence[int]], float], *, rounds: int
) -> list[int]:
    """Return how often each of ``size`` networks counts in the mean prediction.

    The first round chooses the network with the best score. Each further round adds the network
    that improves the score of the mean most; it may be one that was added before. The selection
    ends when no network improves the score. Among equal scores, a network that is already chosen
    comes first, then the one with the lower index. A score that is not a number is the worst.

    ``score`` returns the score of the mean with given counts; higher is better. ``rounds`` is the
    largest sum of the counts.
    """
    counts, best = [0] * size, -math.inf
    for _ in range(rounds):
        options = [[n + (i == index) for i, n in enumerate(counts)] for index in range(size)]
        # Those without a new network first.
        options.sort(key=lambda option: option.count(0), reverse=True)
        scores = [score(option) for option in options]
        scores = [-math.inf if math.isnan(own) else own for own in scores]
        if any(counts) and max(scores) <= best:
            break
        best = max(scores)
        counts = options[scores.index(best)]
    return counts


def fits_together(first: TrainedNetwork, other: TrainedNetwork) -> bool:
    """Return whether two networks can be in one ensemble.

    Both must return one row of outputs for each sample, and have the same task, data set, inputs
    and targets. The inputs of a table may have bins for one of them only.
    """
    ours, theirs = first.config, other.config
    bins = uses_bins(ours) == uses_bins(theirs)
    return (
        isinstance(ours.task, SampleTask)
        and (ours.task.name, ours.dataset.name) == (theirs.task.name, theirs.dataset.name)
        and _data(first, bins=bins) == _data(other, bins=bins)
    )


def _data(trained: TrainedNetwork, *, bins: bool) -> list[StateDict]:
    """Return what two networks must have in common, with or without the bins of a table."""
    options = load_options(trained.config)
    values: StateDict = {name: getattr(trained, name) for name in DATA_FIELDS}
    if not bins and isinstance(trained.encoding, RowEncoding):
        options["bins"] = 0
        del values["network_sizes"], values["input_specs"]
        values["encoding"] = trained.encoding.without_bins()
    return [options, values]


def save_ensemble(target: Path, members: Sequence[Path], counts: Sequence[int]) -> None:
    """Write the checkpoint of an ensemble, which ``darts.load`` and other commands accept.

    It has the configuration of the first member and the best weights of each member; members whose
    inputs have bins come first. It cannot be trained further. The members are checkpoints or run
    directories that fit together. ``counts`` say how often each of them counts.
    """
    pairs = [(TrainedNetwork.load(str(own)), n) for own, n in zip(members, counts, strict=True)]
    pairs.sort(key=lambda pair: not uses_bins(pair[0].config))
    trained, counts = zip(*pairs, strict=True)
    first, nets = trained[0], [own.build() for own in trained]
    net = Ensemble(nets, counts, first.config.task.targets, [None] * len(nets))
    saved = [Member(own.config, n, own.trees) for own, n in pairs]
    ensemble = dataclasses.replace(first, members=tuple(saved), trees=None)
    best = {"epoch": first.epoch, "scores": {}, "net": net.state_dict()}
    save_checkpoint(target / FILE, NETWORK, {**ensemble.entries(), "best": best})
