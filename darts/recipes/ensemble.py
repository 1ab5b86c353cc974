"""Ensembles: the choice of their networks, and their checkpoint.

References:
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models",
    ICML 2004: forward selection (section 2), with replacement (section 2.1). The selection begins
    with the best network, not with several (section 2.2), because ``darts find`` has few.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from darts.data_modules import load_options
from darts.recipes.calibration import validation_outputs
from darts.recipes.states import DATA_FIELDS
from darts.recipes.trained import Member, TrainedNetwork
from darts.spaces.averaging import Ensemble, mean_outputs
from darts.tasks.sample_objective import SampleTask
from darts.training.checkpoint import FILE, NETWORK, save_checkpoint
from darts.training.distributed import Ranks


def choose_members(runs: Sequence[Path], metric: str, *, higher_is_better: bool) -> list[int]:
    """Return how often each network counts in the ensemble with the best validation score.

    The runs are retrainings with the same validation samples.
    """
    outputs = [validation_outputs(run, Ranks("cpu")) for run in runs]
    _, targets, objective = outputs[0]
    kind = TrainedNetwork.load(str(runs[0])).config.task.targets
    scoring = objective.metrics[metric]
    sign = 1 if higher_is_better else -1

    def score(counts: Sequence[int]) -> float:
        chosen = [index for index, count in enumerate(counts) if count]
        mean = mean_outputs([outputs[i][0] for i in chosen], [counts[i] for i in chosen], kind)
        return sign * scoring.of(scoring.rows(objective, mean, (mean, targets)).numpy())

    return greedy_selection(len(runs), score, rounds=2 * len(runs))


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
    and targets.
    """
    ours, theirs = first.config, other.config
    return (
        isinstance(ours.task, SampleTask)
        and (ours.task.name, ours.dataset.name) == (theirs.task.name, theirs.dataset.name)
        and load_options(ours) == load_options(theirs)
        and all(getattr(first, name) == getattr(other, name) for name in DATA_FIELDS)
    )


def save_ensemble(target: Path, members: Sequence[Path], counts: Sequence[int]) -> None:
    """Write the checkpoint of an ensemble, which ``darts.load`` and other commands accept.

    It has the configuration of the first member and the best weights of each member. It cannot be
    trained further. The members are retrainings that fit together. ``counts`` say how often each
    of them counts; members with 0 are left out.
    """
    pairs = [pair for pair in zip(members, counts, strict=True) if pair[1]]
    trained = [TrainedNetwork.load(str(run)) for run, _ in pairs]
    weights = [count for _, count in pairs]
    first = trained[0]
    net = Ensemble([own.build() for own in trained], weights, first.config.task.targets)
    ensemble = dataclasses.replace(
        first, members=tuple(Member(own.config, n) for own, n in zip(trained, weights, strict=True))
    )
    best = {"epoch": first.epoch, "scores": {}, "net": net.state_dict()}
    save_checkpoint(target / FILE, NETWORK, {**ensemble.entries(), "best": best})
