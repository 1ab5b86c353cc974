"""The last trainings of ``darts.find``: on training and validation data together.

No earlier training may learn from the validation data, because all choices depend on validation
scores. After the last choice, the winner and the best baseline train once more, now with these
data, too. Small data sets gain most, because up to a fifth of their training samples is held out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from darts.finding.budget import RUN_OVERHEAD
from darts.finding.candidates import Candidate
from darts.finding.folds import last_score
from darts.finding.results import Result
from darts.finding.rounds import Trainer
from darts.recipes.rules import Setting, Values
from darts.tracking import format_duration
from darts.tracking.formats import is_fraction

KEYS: Values = {"validation": 0, "selection": "last"}
"""Settings of a training without validation data."""


@dataclass(frozen=True)
class Chosen:
    """The result of a run, and the baseline with which it is compared.

    Attributes:
        winner: The best network by validation score; ``baseline`` itself if no found network is
            clearly better.
        baseline: The best baseline.
        doubtful: A found network with a better validation score than ``baseline``, if the
            difference may be chance.
    """

    winner: Result
    baseline: Result
    doubtful: Result | None = None


def refit(trainer: Trainer, chosen: Chosen) -> Chosen:
    """Train winner and baseline again, on training and validation data, if there is time for it.

    The scores remain those of the trainings that used validation data. If one of the trainings
    fails, both networks remain as they are, because a comparison needs equal data.

    Raises:
        Stopped: If the user interrupts the trainings.
    """
    by_run = {result.run: result for result in (chosen.winner, chosen.baseline)}

    def choose() -> dict[str, int]:
        share = _held_out_share(trainer, chosen.winner.candidate)
        if share == 0:
            return {}
        metric = trainer.metric[0]
        samples = _held_out_samples(trainer, chosen.winner.candidate)
        lengths = {run: repeated_epochs(r, metric, samples) for run, r in by_run.items()}
        costs = [
            lengths[run] * result.seconds_per_epoch / (1 - share) + RUN_OVERHEAD
            for run, result in by_run.items()
        ]
        seconds = max(costs) if trainer.workers > 1 else sum(costs)
        if seconds > trainer.stopwatch.left:
            trainer.console.info(
                "refit: skipped; a training with the validation data needs "
                f"{format_duration(seconds)}, {format_duration(trainer.stopwatch.left)} left"
            )
            return {}
        return lengths

    lengths = trainer.decisions.decide("epochs.refit", dict[str, int], choose)
    if not by_run.keys() <= lengths.keys():  # no refit, or a changed file of decisions
        return chosen
    left = format_duration(trainer.stopwatch.left)
    trainer.console.info(f"refit: training with the validation data, {left} left")
    entries = [(_without_validation(r.candidate), lengths[run]) for run, r in by_run.items()]
    results = trainer.train_candidates(entries, folds=1)
    trained = {result.candidate.name: result for result in results}
    if len(trained) < len(entries):
        return chosen
    return dataclasses.replace(
        chosen,
        winner=_replaced(chosen.winner, trained),
        baseline=_replaced(chosen.baseline, trained),
    )


RESERVE = 0.3
"""Share of the time left before the final that the longest repeated trainings may always take."""

USEFUL_EPOCHS = 30
"""Epochs after which a training gains more from the held-out samples than from more epochs."""


def refit_reserve(trainer: Trainer, candidate: Candidate, networks: int) -> float:
    """Return the seconds to reserve in the final for the repeated trainings.

    The time is divided so that the repeated trainings can be as long as those of the final. Nothing
    is reserved if they would then have fewer than ``USEFUL_EPOCHS`` epochs, unless the longest
    useful training is cheap: with so few epochs, longer trainings on less data are worth more.

    Args:
        trainer: Trains the candidates.
        candidate: The most promising network, whose epochs count.
        networks: Number of networks that train in the final.
    """
    share = _held_out_share(trainer, candidate)
    if share == 0:
        return 0.0
    left, workers = trainer.stopwatch.left, max(trainer.workers, 1)
    per_epoch = trainer.seconds_per_epoch(candidate)
    longest = trainer.max_epochs * per_epoch / (1 - share)
    if longest <= RESERVE * left:
        return longest
    # Durations of the final and of the refit, relative to one training of the final.
    final = math.ceil(networks * trainer.folds / workers)
    repeated = math.ceil(REPEATED / workers) / (1 - share)
    seconds = left / (final + repeated)
    return seconds * repeated if seconds >= USEFUL_EPOCHS * per_epoch else 0.0


REPEATED = 2
"""Networks that train again: the winner and the best baseline."""


def _held_out_share(trainer: Trainer, candidate: Candidate) -> float:
    """Return the share of the training samples that is held out; 0 if the refit cannot use it.

    A published validation split is not held out: a training without validation does not read it.
    """
    networks = trainer.networks[candidate.family]
    if networks.data.held_out_loader("valid", {}) is not None:
        return 0.0
    networks.data.retrain_loaders()  # sets the subsets
    subsets = networks.data.subsets
    if "valid" not in subsets or networks.user_keys & {*KEYS, "validation_fold"}:
        return 0.0
    held_out = len(subsets["valid"])
    return held_out / (held_out + len(subsets["train"]))


def _held_out_samples(trainer: Trainer, candidate: Candidate) -> int:
    """Return on how many held-out samples a score is based."""
    return trainer.folds * len(trainer.networks[candidate.family].data.subsets["valid"])


def repeated_epochs(result: Result, metric: str, samples: int) -> int:
    """Return the epochs of the repeated training.

    It is as long as the first one if its last epoch was hardly worse than the best one: by at most
    a standard error of a proportion. Otherwise it ends at the best epoch, but is at least half as
    long: without validation data, nothing else ends a training before it overfits. A best epoch
    that is better by chance would only end the schedule of the learning rate early.

    Args:
        result: The first training.
        metric: Name of the steering metric. Only proportions have a standard error.
        samples: Number of validation samples.

    Reference: the rule of one standard error of Breiman et al., "Classification and Regression
    Trees", 1984, there for the size of trees.
    """
    best = result.summary.get("epoch")
    epochs = best if isinstance(best, int) else result.epochs
    last = last_score(result, metric)
    if is_fraction(metric) and last is not None and 0 <= result.score <= 1:
        error = math.sqrt(result.score * (1 - result.score) / samples)
        if result.score - last <= error:
            return result.epochs
    return max(epochs, math.ceil(result.epochs / 2))


def _without_validation(candidate: Candidate) -> Candidate:
    setting = candidate.setting
    changed = Setting(f"{setting.name}-refit", {**setting.values, **KEYS})
    return dataclasses.replace(candidate, setting=changed)


def _replaced(result: Result, trained: Mapping[str, Result]) -> Result:
    """Return a result with the directory and the length of the repeated training."""
    repeated = trained[result.candidate.name]
    return dataclasses.replace(result, directory=repeated.directory, refit_epochs=repeated.epochs)
