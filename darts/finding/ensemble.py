"""The end of ``darts find`` with ``ensemble=N``: the predictions of several networks are averaged.

References:
    Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from darts.data.split import load_split, save_split
from darts.finding.answer import copy_files
from darts.finding.final_run import begin_of_final_runs, final_runs, seconds_left
from darts.finding.race import Race
from darts.finding.results import Result, ranked
from darts.finding.slices import counted, timed
from darts.reading import JsonObject
from darts.recipes.ensemble import choose_members, fits_together, save_ensemble
from darts.recipes.gain import Gain
from darts.recipes.timing import compare_costs
from darts.recipes.trained import TrainedNetwork
from darts.recipes.trees import fold_runs

TREES = "trees"  # their name in an ensemble


@dataclass(frozen=True)
class EnsembleResult:
    """An ensemble of networks of the race.

    Attributes:
        directory: Folder with its checkpoint; with one network only, the run directory.
        metric: Name of the steering metric.
        score: The metric on validation data.
        counts: How often each network counts, by its name; "trees" are trees.
        members: Number of networks, with all their runs.
        costs: Parameters and milliseconds per sample, of the ensemble and of the winner alone.
    """

    directory: Path
    metric: str
    score: float
    counts: Mapping[str, int]
    members: int
    costs: Mapping[str, float]

    @property
    def averages(self) -> bool:
        """Whether it has several networks."""
        return self.members > 1

    def summary(self, test: Gain | None) -> JsonObject:
        """Return the entries of ``summary.json``.

        ``test`` compares the ensemble with the winner alone; None without a test split.
        """
        note = "No average of networks has a better validation score than one network alone."
        if self.averages:
            total = sum(self.counts.values())
            names = ", ".join(f"{100 * n / total:.0f} % {name}" for name, n in self.counts.items())
            cost = self.costs["ensemble_parameters"] / self.costs["single_parameters"]
            note = (
                f"The result averages {self.members} networks, {names}: {cost:.1f} times the "
                "parameters of the best single network."
            )
            if test is not None:
                chance = "" if test.is_significant else ", which may be chance"
                gain = test.text(self.metric) + chance
                note += f" Its improvement over this network in test_{self.metric} is {gain}."
        values: JsonObject = {"ensemble": dict(self.counts), "ensemble_note": note}
        if self.averages:
            values |= self.costs
        if self.averages and test is not None:
            values |= {f"single_test_{name}": score for name, score in test.baseline.items()}
            values |= test.entries("ensemble_gain")
        return values


def train_finalists(race: Race, winner: Result, reserve: float) -> list[Result]:
    """Train the winner and the next-best networks longer; return them, best first.

    Those for which more training does not help stay as they are. While this holds for the best
    network, or for all of them, further candidates train. With a plan in epochs, all get
    ``plan.epochs``, if it is set.

    Args:
        race: The race.
        winner: The winner of the duel.
        reserve: Seconds to keep for test scores.
    """
    plan, total = race.config.plan, race.stopwatch.total
    while True:
        rounds = race.rounds
        names = race.decisions.decide(
            f"finalists-{total:.0f}-{rounds}", list[str], lambda: _finalists(race, winner)
        )
        if plan.equal == "epochs":
            if plan.epochs is not None:
                lengths = {n: counted(race.candidates[n], plan.epochs) for n in names}
                race.train_up_to(lengths)
            return ranked([race.results[name] for name in names], race.metric[1])
        if not race.best().is_exhausted:
            _train_until_final_runs(race, names, reserve)
            if not all(race.results[name].is_exhausted for name in names):
                break
        race.explore((race.stopwatch.seconds + seconds_left(race, reserve) / 2) / total)
        if race.rounds == rounds:
            _train_until_final_runs(race, names, reserve)
            break
    results = [race.results[name] for name in names]
    still = [result for result in results if not result.is_exhausted]
    if race.folds == 1 and still:
        done = [result for result in results if result.is_exhausted]
        results = [*final_runs(race, still, reserve), *done]
    return ranked(results, race.metric[1])


def _train_until_final_runs(race: Race, names: Sequence[str], reserve: float) -> None:
    """Train networks until their final runs begin, or to the end if each has several runs."""
    waves = math.ceil(len(names) * race.folds / race.workers)
    trained = max(race.results[name].seconds for name in names)
    final_waves = waves if race.folds == 1 else 0
    end = race.decisions.decide(
        f"end-{race.stopwatch.total:.0f}-ensemble-{race.rounds}",
        float,
        lambda: begin_of_final_runs(race, trained, reserve, waves, final_waves),
    )
    while still := [race.results[n] for n in names if not race.results[n].is_exhausted]:
        waves = math.ceil(len(still) * race.folds / race.workers)
        left = (end - race.stopwatch.seconds) / waves - race.overhead
        if left <= 1:
            break
        longest = max(result.seconds for result in still)
        seconds = longest + min(left, longest)
        lengths = {r.candidate.name: min(seconds, r.seconds + left) for r in still}
        race.train_up_to({n: timed(race.candidates[n], end) for n, end in lengths.items()})
        if [race.results[result.candidate.name] for result in still] == still:  # all have failed
            break


def _finalists(race: Race, winner: Result) -> list[str]:
    chosen: dict[str, TrainedNetwork] = {}
    for result in [winner, *ranked(race.results.values(), race.metric[1])]:
        trained = TrainedNetwork.load(str(result.directory))
        if all(fits_together(own, trained) for own in chosen.values()):
            chosen.setdefault(result.candidate.name, trained)
        if len(chosen) == race.config.ensemble:
            break
    return [*chosen]


def make_ensemble(
    race: Race, finalists: Sequence[Result], single: Result, trees: Path | None
) -> EnsembleResult:
    """Choose an ensemble by validation scores; write its calibrated checkpoint.

    A network with several runs, each with other samples held out, takes part with all of them. It
    is only the winner, ``single``, if no average is better than one network.

    Args:
        race: The race.
        finalists: The networks, which fit together.
        single: One of them.
        trees: Trees that may take part, trained on all samples.
    """
    name, metric = race.metric
    held_out = {f.candidate.name: f.directories for f in finalists}
    files = dict(held_out)
    if trees is not None:
        held_out[TREES], files[TREES] = fold_runs(race.directory, race.folds), [trees]
    choice = choose_members([*held_out.values()], name, higher_is_better=metric.higher_is_better)
    chosen = {own: n for own, n in zip(held_out, choice.counts, strict=True) if n}
    members = [file for own in chosen for file in files[own]]
    directory = single.directory
    if len(members) > 1:
        directory = race.directory / "ensemble"
        # One file of trees weighs as much as all runs of a network.
        counts = [
            n * race.folds // len(files[own]) for own, n in chosen.items() for _ in files[own]
        ]
        save_ensemble(directory, members, counts)
        files_too = "split.npz", "metrics.jsonl", "vocabulary.json", "columns.csv"
        copy_files(finalists[0].directory, directory, files_too)
        subsets = load_split(directory / "split.npz")
        if race.folds > 1 or TREES in chosen:  # some members have trained on what one has held out
            save_split(directory / "split.npz", {"train": torch.cat([*subsets.values()])})
        choice.calibrate(directory)
    directories = {"ensemble": directory, "single": single.directory}
    costs = compare_costs(directories, race.execution.executor.threads)
    return EnsembleResult(directory, name, choice.score, chosen, len(members), costs)
