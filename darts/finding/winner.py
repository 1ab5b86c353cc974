"""The second part of ``darts.find``: the best candidate trains alone and becomes the answer.

References:
    Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3: among models that
    are level with the best one on held-out data, choose the more strongly regularized one.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass

from darts.finding.answer import write_answer
from darts.finding.final_run import begin_of_final_runs, memorizes
from darts.finding.race import Race
from darts.finding.results import Result, ranked
from darts.reading import JsonObject
from darts.recipes.gain import validation_interval
from darts.recipes.rules import AUGMENTATIONS

CHOICE_LEVEL = 0.6
"""Confidence level of the interval of a difference on validation data. A network replaces the best
baseline if its interval lies above 0, which has a probability of about four fifths."""

DUEL = "duel"
"""Folder with the checkpoints of the best network and the best baseline after equal training."""


@dataclass(frozen=True)
class Duel:
    """The comparison of the best candidate with the best baseline after equal training.

    Attributes:
        winner: The one that trains on: a found network only if it is clearly better.
        baseline: The best baseline, with its scores of the duel but without its runs.
        doubtful: Whether a found network ranked higher than the baseline that wins.
    """

    winner: Result
    baseline: Result
    doubtful: bool = False


@dataclass(frozen=True)
class SavedDuel:
    """A ``Duel`` in ``decisions.json``, with the round after which it took place."""

    rounds: int
    winner: str
    baseline: str
    baseline_summary: JsonObject
    doubtful: bool


def duel(race: Race) -> Duel:
    """Train the best candidate and the best baseline for equally long, and compare both.

    The best of several networks often has the best score by chance, and the baseline is known to
    work. The duel of a winner is not repeated, because the winner trains on and the other does not.
    """
    saved = race.decisions.decide("duel", SavedDuel, lambda: _decide(race))
    winner = race.results.get(saved.winner)
    if winner is None or (saved.rounds != race.rounds and winner != race.best()):
        saved = _decide(race)
        race.decisions.record("duel", saved)
        winner = race.results[saved.winner]
    baseline = Result(race.candidates[saved.baseline], (), saved.baseline_summary, math.nan)
    return Duel(winner, baseline, saved.doubtful)


def duel_seconds(race: Race) -> float:
    """Return how long the best candidate or the best baseline trains in a duel."""
    pair = race.best(), race.best(baseline=True)
    stage = max(race.standings[result.candidate.name].stage for result in pair) - 1
    return race.slices.seconds_after(stage) - min(result.seconds for result in pair)


def answer_so_far(race: Race) -> Result:
    """Return the winner of the duel, or the best candidate before it."""
    known = "duel" in race.decisions
    winner = race.decisions.decide("duel", SavedDuel, lambda: _decide(race)).winner if known else ""
    return race.results.get(winner) or race.best()


def _decide(race: Race) -> SavedDuel:
    best, baseline = race.best(), race.best(baseline=True)
    stage = max(race.standings[r.candidate.name].stage for r in (best, baseline)) - 1
    baseline = race.train_to(baseline.candidate, stage) or race.best(baseline=True)
    best = race.train_to(best.candidate, stage) or race.best()
    winner = best = ranked([best, baseline], race.metric[1])[0]
    if best != baseline:
        for name, result in (("found", best), ("baseline", baseline)):
            target = race.directory / DUEL / name
            target.mkdir(parents=True, exist_ok=True)
            for file in ("checkpoint.safetensors", "split.npz"):  # what scores a network
                shutil.copyfile(result.directory / file, target / file)
        winner = best if is_better(race, best, baseline) else baseline
    return SavedDuel(
        rounds=race.rounds,
        winner=augmented(race, winner).candidate.name,
        baseline=baseline.candidate.name,
        baseline_summary=dict(baseline.summary),
        doubtful=winner != best,
    )


def augmented(race: Race, best: Result) -> Result:
    """Return the best candidate with one more augmentation, unless this is clearly worse.

    The winner trains for several times as long as in the comparison, and longer training is
    expected to gain more from augmentation.
    """
    stage = race.standings[best.candidate.name].stage
    others = [
        result
        for result in race.results.values()
        if result.candidate.start.parent == best.candidate.name
        and result.candidate.setting.name.rpartition("+")[2] in AUGMENTATIONS
        and race.standings[result.candidate.name].stage == stage  # equal training
    ]
    return next((o for o in ranked(others, race.metric[1]) if not is_better(race, best, o)), best)


def train_winner(race: Race, chosen: Duel, reserve: float) -> Result:
    """Train the winner until its final run begins; return its result.

    The final run begins early if the winner does not memorize the training samples. On
    Fashion-MNIST in experiments/learning_rates.py, longer falls of the rate are then better.

    Args:
        race: The race.
        chosen: The winner.
        reserve: Seconds to keep for test scores.
    """
    result, plan = chosen.winner, race.config.plan
    if plan.equal == "epochs":
        if plan.epochs is not None:
            epochs = max(plan.epochs - result.candidate.start.epochs, 1)
            longer = race.train_alone(result.candidate, (f"epochs={epochs}",))
            result = _kept(race, result, longer)
        return result
    waves = math.ceil(race.folds / race.execution.executor.workers)  # of the runs of the candidate
    end = race.decisions.decide(
        f"end-{race.stopwatch.total:.0f}-{result.candidate.name}",
        float,
        lambda: begin_of_final_runs(race, result.seconds, reserve, waves),
    )
    while not result.is_exhausted and (left := (end - race.stopwatch.seconds) / waves) > 1:
        if race.folds == 1 and not memorizes(result.directory):
            break
        # Lengths double, so that the answer so far is saved and the training may end early.
        longer = _kept(race, result, race.train_for(result.candidate, left))
        if longer == result:  # the run has failed
            break
        result = longer
    return result


def _kept(race: Race, result: Result, longer: Result | None) -> Result:
    """Make the result of a longer training the answer; keep the old result if it has failed."""
    if longer is None:
        race.results[result.candidate.name] = result
        return result
    race.console.info(f"winner: {race.describe(longer)}")
    write_answer(race.directory, longer.directory, longer.candidate.genotype)
    return longer


def is_better(race: Race, new: Result, old: Result) -> bool:
    """Return whether a network is clearly better than another one, on validation data."""
    if ranked([old, new], race.metric[1])[0] == old:
        return False
    bounds = validation_interval(
        new.directories, old.directories, metric=race.metric[0], level=CHOICE_LEVEL
    )
    return bounds is None or bounds[0] > 0
