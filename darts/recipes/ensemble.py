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
from darts.data import Batch, load_split
from darts.data.targets import CLASSES, LABELS
from darts.data_modules import load_options
from darts.recipes.trained import Member, TrainedNetwork, build_on, open_data
from darts.spaces.averaging import Ensemble
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

    def score(predictions: Tensor) -> float:
        logits = _outputs(predictions, kind)
        return sign * scoring.of(scoring.rows(objective, logits, (logits, targets)).numpy())

    size = len(runs)
    predictions = torch.stack([_predictions(own, kind) for own in outputs])
    return greedy_selection(predictions, score, rounds=2 * size)


def _validation_outputs(runs: Sequence[Path]) -> tuple[list[Tensor], Objective, Tensor, str]:
    """Return the outputs of each network, ``(samples, K)``, objective, targets, and their kind."""
    ranks = Ranks("cpu")
    outputs: list[Tensor] = []
    for run in runs:
        trained = TrainedNetwork.load(str(run))
        data = open_data(trained, ranks)
        loader = data.held_out_loader("valid", load_split(run / "split.npz"))
        assert loader is not None  # each run has a validation score
        objective = data.objective()
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


def _predictions(outputs: Tensor, targets: str) -> Tensor:
    """Return probabilities or numbers for the outputs of a network, of the same shape."""
    if targets == CLASSES:
        return outputs.softmax(-1)
    return outputs.sigmoid() if targets == LABELS else outputs


def _outputs(predictions: Tensor, targets: str) -> Tensor:
    """Return outputs that give these predictions."""
    smallest = torch.finfo(torch.float32).tiny  # a probability of 0 would have infinite outputs
    if targets == CLASSES:
        return predictions.clamp_min(smallest).log()
    return predictions.logit(smallest) if targets == LABELS else predictions


def greedy_selection(
    predictions: Tensor, score: Callable[[Tensor], float], *, rounds: int
) -> list[int]:
    """Return how often each network counts in the mean prediction, a list of whole numbers.

    The first round chooses the network with the best score. Each further round adds the network
    that improves the score of the mean most; it may be one that was added before. The selection
    ends when no network improves the score. Among equal scores, a network that is already chosen
    comes first, then the one with the lower index. A score that is not a number is the worst.

    Args:
        predictions: Probabilities or numbers that each network predicts, ``(networks, samples, K)``
            of a floating-point type.
        score: Returns the score of predictions ``(samples, K)``; higher is better.
        rounds: Maximum sum of the counts.
    """
    counts = [0] * len(predictions)
    total, best = predictions.new_zeros(predictions.shape[1:]), -math.inf
    for size in range(1, rounds + 1):
        chosen = [index for index, count in enumerate(counts) if count]
        others = [index for index, count in enumerate(counts) if not count]
        candidates = chosen + others
        scores = [_ranked(score((total + predictions[index]) / size)) for index in candidates]
        if size > 1 and max(scores) <= best:
            break
        best = max(scores)
        added = candidates[scores.index(best)]
        counts[added] += 1
        total = total + predictions[added]
    return counts


def _ranked(score: float) -> float:
    return -math.inf if math.isnan(score) else score


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
    names = ("target_names", "target_scale", "network_sizes", "input_specs", "encoding")
    for name in names:
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
