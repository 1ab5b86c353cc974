"""The end of ``darts.find`` with ``ensemble=N``: the predictions of several networks are averaged.

References:
    Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darts.config import ConfigError
from darts.finding.final_run import begin_of_final_runs, final_runs
from darts.finding.race import Race
from darts.finding.results import Result, ranked
from darts.finding.slices import counted, timed
from darts.reading import JsonObject
from darts.recipes.ensemble import choose_members, fits_together, save_ensemble
from darts.recipes.gain import Gain
from darts.recipes.trained import TrainedNetwork

FOLDER = "ensemble"


@dataclass(frozen=True)
class EnsembleResult:
    """An ensemble of networks of the race.

    Attributes:
        counts: How often each network counts, by its name.
        gain: Difference to the winner alone on the test split; None without a test split or with
            one network only.
        costs: Parameters and milliseconds per sample, of the ensemble and of the winner alone.
    """

    counts: Mapping[str, int]
    gain: Gain | None
    costs: Mapping[str, float]

    def sentence(self) -> str:
        """Return which networks are averaged, and how large they are together."""
        if len(self.counts) == 1:
            return "No ensemble has a better validation score than the best network alone."
        names = ", ".join(f"{n} x {name}" for name, n in self.counts.items())
        cost = self.costs["ensemble_parameters"] / self.costs["single_parameters"]
        return f"The result averages {names}: {cost:.1f} times the parameters of the winner."

    def summary(self) -> JsonObject:
        """Return the entries of ``summary.json``."""
        values: JsonObject = {"ensemble": dict(self.counts), **self.costs}
        values["ensemble_note"] = self.sentence()
        if self.gain is not None:
            values |= {f"single_test_{name}": v for name, v in self.gain.baseline.items()}
            values |= self.gain.entries("ensemble_gain")
        return values


def check_ensemble(members: int, folds: int) -> None:
    """Raise ConfigError for an ensemble if each candidate has several runs, see ``plan.folds``."""
    if members > 1 and folds > 1:
        raise ConfigError(
            f"ensemble={members}: there are too few samples to choose networks, so each has "
            f"{folds} runs; set ensemble=1 or plan.folds=1"
        )


def train_finalists(race: Race, winner: Result, reserve: float) -> list[Result]:
    """Train the winner and the next-best networks for equally long; return them, best first.

    With a plan in epochs, they get ``plan.epochs``, if it is set.

    Args:
        race: The race.
        winner: The winner of the duel.
        reserve: Seconds to keep for test scores.
    """
    names = race.decisions.decide(
        f"finalists-{race.stopwatch.total:.0f}", list[str], lambda: _finalists(race, winner)
    )
    plan = race.config.plan
    if plan.equal == "time":
        waves = math.ceil(len(names) / race.execution.executor.workers)
        trained = max(race.results[name].seconds for name in names)
        end = race.decisions.decide(
            f"end-{race.stopwatch.total:.0f}-ensemble",
            float,
            lambda: begin_of_final_runs(race, trained, reserve, waves, waves),
        )
        while (left := (end - race.stopwatch.seconds) / waves) > 1:
            before = max(race.results[name].seconds for name in names)
            seconds = before + min(left, before)
            race.train_up_to({name: timed(race.candidates[name], seconds) for name in names})
            if max(race.results[name].seconds for name in names) == before:  # all have failed
                break
        results = final_runs(race, [race.results[name] for name in names], reserve)
        return ranked(results, race.metric[1])
    if plan.epochs is not None:
        race.train_up_to({name: counted(race.candidates[name], plan.epochs) for name in names})
    return ranked([race.results[name] for name in names], race.metric[1])


def _finalists(race: Race, winner: Result) -> list[str]:
    first = TrainedNetwork.load(str(winner.directory))
    fitting = [
        result.candidate.name
        for result in ranked(race.results.values(), race.metric[1])
        if result != winner and fits_together(first, TrainedNetwork.load(str(result.directory)))
    ]
    return [winner.candidate.name, *fitting][: race.config.ensemble]


def make_ensemble(race: Race, finalists: Sequence[Result]) -> dict[str, int]:
    """Return how often each network counts in the ensemble with the best validation score.

    Its checkpoint is written, unless it has one member only.
    """
    name, metric = race.metric
    runs = [finalist.directory for finalist in finalists]
    counts = choose_members(runs, name, higher_is_better=metric.higher_is_better)
    chosen = {f.candidate.name: n for f, n in zip(finalists, counts, strict=True) if n}
    if len(chosen) > 1:
        folder = race.directory / FOLDER
        save_ensemble(folder, runs, counts)
        for file in ("split.npz", "metrics.jsonl", "vocabulary.json"):
            if (runs[0] / file).exists():
                shutil.copyfile(runs[0] / file, folder / file)
    return chosen
