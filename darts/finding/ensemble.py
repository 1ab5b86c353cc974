"""The end of ``darts find`` with ``ensemble=N``: the predictions of several networks are averaged.

References:
    Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from darts.config import ConfigError
from darts.finding.answer import copy_files
from darts.finding.final_run import begin_of_final_runs, final_runs
from darts.finding.race import Race
from darts.finding.results import Result, ranked
from darts.finding.slices import counted, timed
from darts.reading import JsonObject
from darts.recipes.ensemble import choose_members, fits_together, save_ensemble
from darts.recipes.gain import Gain
from darts.recipes.timing import compare_costs
from darts.recipes.trained import TrainedNetwork


@dataclass(frozen=True)
class EnsembleResult:
    """An ensemble of networks of the race.

    Attributes:
        directory: Folder with its checkpoint; with one network only, the run directory.
        counts: How often each network counts, by its name.
        costs: Parameters and milliseconds per sample, of the ensemble and of the winner alone.
    """

    directory: Path
    counts: Mapping[str, int]
    costs: Mapping[str, float]

    def summary(self, test: Gain | None) -> JsonObject:
        """Return the entries of ``summary.json``.

        ``test`` compares the ensemble with the winner alone; None without a test split.
        """
        note = "No ensemble has a better validation score than the best network alone."
        if len(self.counts) > 1:
            names = ", ".join(f"{n} x {name}" for name, n in self.counts.items())
            cost = self.costs["ensemble_parameters"] / self.costs["single_parameters"]
            note = f"The result averages {names}: {cost:.1f} times the parameters of the winner."
        values = {"ensemble": dict(self.counts), **self.costs, "ensemble_note": note}
        if len(self.counts) > 1 and test is not None:
            values |= {f"single_test_{name}": score for name, score in test.baseline.items()}
            values |= test.entries("ensemble_gain")
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
        waves = math.ceil(len(names) / race.workers)
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


def make_ensemble(race: Race, finalists: Sequence[Result], single: Result) -> EnsembleResult:
    """Return the ensemble with the best validation score; write its checkpoint.

    It is only the winner, ``single``, if no ensemble is better than one network.
    """
    name, metric = race.metric
    runs = [finalist.directory for finalist in finalists]
    counts = choose_members(runs, name, higher_is_better=metric.higher_is_better)
    chosen = {f.candidate.name: n for f, n in zip(finalists, counts, strict=True) if n}
    directory = single.directory
    if len(chosen) > 1:
        directory = race.directory / "ensemble"
        save_ensemble(directory, runs, counts)
        copy_files(runs[0], directory, ("split.npz", "metrics.jsonl", "vocabulary.json"))
    directories = {"ensemble": directory, "single": single.directory}
    costs = compare_costs(directories, race.execution.executor.threads)
    return EnsembleResult(directory, chosen, costs)
