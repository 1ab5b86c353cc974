"""Ensembles: the choice of their networks, and their checkpoint.

References:
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models",
    ICML 2004: forward selection (section 2), with replacement (section 2.1). The selection begins
    with the best network, not with several (section 2.2), because ``darts.find`` has few.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from darts.config import ConfigError
from darts.data import Batch
from darts.data_modules import load_options
from darts.recipes.states import DATA_FIELDS
from darts.recipes.trained import Member, TrainedNetwork, build_on, open_split
from darts.spaces.averaging import Ensemble, mean_outputs
from darts.tasks import Objective
from darts.tasks.sample_objective import SampleTask
from darts.training.checkpoint import FILE, NETWORK, save_checkpoint
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate


def choose_members(runs: Sequence[Path], metric: str, *, higher_is_better: bool) -> list[int]:
    """Return how often each network counts in the ensemble with the best validation score.

    The runs are retrainings with the same validation samples.
    """
    outputs, objective, targets, kind = _validation_outputs(runs)
    scoring = objective.metrics[metric]
    sign = 1 if higher_is_better else -1

    def score(counts: Sequence[int]) -> float:
        chosen = [index for index, count in enumerate(counts) if count]
        mean = mean_outputs([outputs[i] for i in chosen], [counts[i] for i in chosen], kind)
        return sign * scoring.of(scoring.rows(objective, mean, (mean, targets)).numpy())

    return greedy_selection(len(runs), score, rounds=2 * len(runs))


def _validation_outputs(runs: Sequence[Path]) -> tuple[list[Tensor], Objective, Tensor, str]:
    """Return the outputs of each network, ``(samples, K)``, objective, targets, and their kind."""
    ranks = Ranks("cpu")
    outputs: list[Tensor] = []
    for run in runs:
        trained = TrainedNetwork.load(str(run))
        objective, loader = open_split(trained, ranks, "valid")
        rows: list[tuple[Tensor, Tensor]] = []

        def observe(output: object, batch: Batch, rows: list[tuple[Tensor, Tensor]] = rows) -> None:
            assert isinstance(output, Tensor)
            rows.append((output.cpu().double(), batch[1].cpu()))

        net = build_on(trained, ranks.device)
        with torch.inference_mode():
            evaluate(net, loader.epoch(0), objective, device=ranks.device, observe=observe)
        columns = [torch.cat(column) for column in zip(*rows, strict=True)]
        outputs.append(columns[0])
    return outputs, objective, columns[1], trained.config.task.targets


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
    return _difference(first, other) is None


def save_ensemble(target: Path, members: Sequence[Path], counts: Sequence[int]) -> None:
    """Write the checkpoint of an ensemble, which ``darts.load`` and other commands accept.

    It has the configuration of the first member and the best weights of each member. It cannot be
    trained further. ``counts`` say how often each member counts; members with 0 are left out.
    """
    if not any(counts) or min(counts) < 0:
        raise ConfigError(f"counts={list(counts)}: must be >= 0, and at least one above 0")
    pairs = [pair for pair in zip(members, counts, strict=True) if pair[1]]
    trained = [TrainedNetwork.load(str(run)) for run, _ in pairs]
    weights = [count for _, count in pairs]
    first = trained[0]
    for other in (*trained[1:], first):
        if other.members:
            raise ConfigError(f"{other.file}: is an ensemble, which cannot be a member of another")
        if (difference := _difference(first, other)) is not None:
            raise ConfigError(
                f"{first.file} and {other.file} cannot form an ensemble: {difference}"
            )
    net = Ensemble([own.build() for own in trained], weights, first.config.task.targets)
    ensemble = dataclasses.replace(
        first, members=tuple(Member(own.config, n) for own, n in zip(trained, weights, strict=True))
    )
    best = {"epoch": first.epoch, "scores": {}, "net": net.state_dict()}
    save_checkpoint(target / FILE, NETWORK, {**ensemble.entries(), "best": best})


def _difference(first: TrainedNetwork, other: TrainedNetwork) -> str | None:
    """Return why two networks cannot be in one ensemble; None if they can."""
    task = first.config.task
    if not isinstance(task, SampleTask):
        return f"networks of task={task.name} do not return one row of outputs for each sample"
    if task.name != other.config.task.name:
        return f"task is {task.name} and {other.config.task.name}"
    for name in DATA_FIELDS:
        if getattr(first, name) != getattr(other, name):
            return f"{name} differs"
    data, other_data = (
        {"name": config.dataset.name, **load_options(config)}
        for config in (first.config, other.config)
    )
    for name in {**data, **other_data}:
        if data.get(name) != other_data.get(name):
            return f"dataset.{name} is {data.get(name)!r} and {other_data.get(name)!r}"
    return None
