"""The last trainings of ``darts.find``: on training and validation data together.

No training before may use the validation data, because all choices depend on validation scores.
After the last choice, the best network and the best baseline train once more with these data. Small
data sets gain most, because up to a fifth of their training samples is held out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from darts.finding.budget import RUN_OVERHEAD
from darts.finding.candidates import Candidate
from darts.finding.results import Result
from darts.finding.rounds import Trainer
from darts.recipes.rules import Setting, Values
from darts.tracking import format_duration

KEYS: Values = {"validation": 0, "selection": "last"}
"""Settings of a training without validation data."""


@dataclass(frozen=True)
class Chosen:
    """The result of a run, and the baseline with which it is compared.

    Attributes:
        winner: The best network by validation score; ``baseline`` itself if no other is better.
        baseline: The best baseline.
        doubtful: A found network with a better validation score than ``baseline``, if the
            difference may be chance.
    """

    winner: Result
    baseline: Result
    doubtful: Result | None = None


def refit(trainer: Trainer, chosen: Chosen) -> Chosen:
    """Train both networks on training and validation data, if there is time for it.

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
        lengths = {run: repeated_epochs(result) for run, result in by_run.items()}
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
    if not by_run.keys() <= lengths.keys():  # none, or those of a changed file
        return chosen
    left = format_duration(trainer.stopwatch.left)
    trainer.console.info(f"refit: training with the validation data, {left} left")
    entries = [(_without_validation(r.candidate), lengths[run]) for run, r in by_run.items()]
    trained = {result.candidate.name: result for result in trainer.train_candidates(entries)}
    if len(trained) < len(entries):
        return chosen
    return dataclasses.replace(
        chosen,
        winner=_replaced(chosen.winner, trained),
        baseline=_replaced(chosen.baseline, trained),
    )


RESERVE = 0.3
"""Largest share of the time left before the final that is reserved for the repeated trainings."""


def refit_reserve(trainer: Trainer, candidate: Candidate) -> float:
    """Return the seconds to reserve for repeating the longest useful training of a network.

    This is 0 if it would take too long: trainings on less data for longer are then worth more.
    """
    share = _held_out_share(trainer, candidate)
    if share == 0:
        return 0.0
    seconds = trainer.max_epochs * trainer.seconds_per_epoch(candidate) / (1 - share)
    return seconds if seconds <= RESERVE * trainer.stopwatch.left else 0.0


def _held_out_share(trainer: Trainer, candidate: Candidate) -> float:
    """Return the share of the training samples that is held out; 0 if it must stay so."""
    networks = trainer.networks[candidate.family]
    networks.data.retrain_loaders()  # sets the subsets
    subsets = networks.data.subsets
    if "valid" not in subsets or networks.user_keys & KEYS.keys():
        return 0.0
    held_out = len(subsets["valid"])
    return held_out / (held_out + len(subsets["train"]))


def repeated_epochs(result: Result) -> int:
    """Return the epochs of the repeated training: those up to the best one, but at least half.

    Without validation data, nothing else ends a training before it overfits.
    """
    best = result.summary.get("epoch")
    epochs = best if isinstance(best, int) else result.epochs
    return max(epochs, math.ceil(result.epochs / 2))


def _without_validation(candidate: Candidate) -> Candidate:
    setting = candidate.setting
    changed = Setting(f"{setting.name}-refit", {**setting.values, **KEYS})
    return dataclasses.replace(candidate, setting=changed)


def _replaced(result: Result, trained: Mapping[str, Result]) -> Result:
    """Return a result with the directory and the length of the repeated training."""
    repeated = trained[result.candidate.name]
    return dataclasses.replace(result, directory=repeated.directory, refit_epochs=repeated.epochs)
