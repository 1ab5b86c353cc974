"""Choose the networks of an ensemble by their predictions for the validation samples.

References:
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models",
    ICML 2004: forward selection (section 2), with replacement (section 2.1). The selection begins
    with the best network, not with several (section 2.2), because ``darts.find`` has few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from darts.data import Batch, load_split
from darts.data.targets import CLASSES, LABELS
from darts.recipes.evaluation import build_on, open_data
from darts.recipes.trained import TrainedNetwork
from darts.tasks import Objective
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate


def choose_members(runs: Sequence[Path], metric: str, *, higher_is_better: bool) -> list[int]:
    """Return how often each network counts in the ensemble with the best validation score.

    Args:
        runs: Run directories of retrainings with the same validation samples.
        metric: Name of the score.
        higher_is_better: Its direction.
    """
    outputs, objective, targets, kind = _validation_outputs(runs)
    scoring = objective.metrics[metric]
    sign = 1 if higher_is_better else -1

    def score(predictions: Tensor) -> float:
        logits = _outputs(predictions, kind)
        return sign * scoring.of(scoring.rows(objective, logits, (logits, targets)).numpy())

    size = len(runs)
    predictions = torch.stack([_predictions(own, kind) for own in outputs])
    return greedy_selection(predictions, score, members=size, rounds=2 * size)


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
    predictions: Tensor, score: Callable[[Tensor], float], *, members: int, rounds: int
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
        members: Maximum number of different networks.
        rounds: Maximum sum of the counts.

    Raises:
        ValueError: If there are no networks, or ``members`` or ``rounds`` is below 1.
    """
    if not len(predictions) or members < 1 or rounds < 1:
        raise ValueError(
            f"{len(predictions)} networks, members={members}, rounds={rounds}: each must be >= 1"
        )
    counts = [0] * len(predictions)
    total, best = predictions.new_zeros(predictions.shape[1:]), -math.inf
    for size in range(1, rounds + 1):
        chosen = [index for index, count in enumerate(counts) if count]
        others = [index for index, count in enumerate(counts) if not count]
        candidates = chosen + (others if len(chosen) < members else [])
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
