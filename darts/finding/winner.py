"""The second part of ``darts find``: the best candidate trains alone and becomes the answer.

References:
    Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3: among models that
    are level with the best one on held-out data, choose the more strongly regularized one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

from darts.finding.answer import copy_files, write_answer
from darts.finding.final_run import begin_of_final_runs, rate_falls
from darts.finding.policy import Entry
from darts.finding.race import Race
from darts.finding.results import Result, improvement, is_better, ranked
from darts.finding.slices import counted
from darts.reading import JsonObject

# Largest length of a final run with a falling rate, in units of all training before. Most networks
# that memorize the training samples then begin to do so before this run.
FALLING = 7 / 3

# Share of the budget until which the best candidate is compared with more augmentation.
AUGMENTED = 0.6

# Folder with the checkpoints of the best network and the best baseline after equal training.
DUEL = "duel"


@dataclass(frozen=True)
class Duel:
    """The comparison of the best candidate with the best baseline after equal training.

    Attributes:
        budget: The budget in seconds for which it was decided.
        winner: Name of the one that trains on: a found network only if it is clearly better.
        baseline: Name of the best baseline.
        baseline_summary: Content of its ``summary.json`` after the comparison.
        doubtful: Whether a found network ranked higher than the baseline that wins.
        search_gain: Improvement of a found winner over the baseline on validation data after equal
            training, and its 95 % interval if there is one; [] if a baseline wins.
    """

    budget: float
    winner: str
    baseline: str
    baseline_summary: JsonObject
    doubtful: bool
    search_gain: list[float]


def duel(race: Race, *, again: bool = False) -> Duel:
    """Train the best candidate and the best baseline for equally long, and compare both.

    The best of several networks often has the best score by chance, and the baseline is known to
    work. The comparison is made once for each budget, because then the winner trains on and the
    other does not. It is repeated if the winner has failed since then, or with ``again``. A new
    winner must be clearly better than the winner so far.
    """
    chosen = _decided(race)
    winner = race.results.get(chosen.winner)
    again |= race.config.plan.equal == "time" and chosen.budget != race.stopwatch.total
    if winner is None or (again and winner != race.best()):
        compared = _compare(race)
        if winner is None or is_better(race.metric, compared[0], winner):
            chosen = _new_duel(race, *compared)
    if winner is None or again:
        chosen = replace(chosen, budget=race.stopwatch.total)
        race.decisions.record("duel", chosen)
    return chosen


def duel_seconds(race: Race) -> float:
    """Return how long the best candidate or the best baseline trains in a duel."""
    pair = race.best(), race.best(baseline=True)
    stage = max(race.standings[result.candidate.name].stage for result in pair) - 1
    seconds = race.slices.seconds_after(stage) - min(result.seconds for result in pair)
    return (seconds + race.overhead) * math.ceil(race.folds / race.workers)


def answer_so_far(race: Race) -> Result:
    """Return the winner of the duel, or the best candidate before it."""
    winner = race.results.get(_decided(race).winner) if "duel" in race.decisions else None
    return winner or race.best()


def _decided(race: Race) -> Duel:
    return race.decisions.decide("duel", Duel, lambda: _new_duel(race, *_compare(race)))


def _compare(race: Race) -> tuple[Result, Result, Result]:
    """Return the winner, the best candidate and the best baseline after equal training."""
    while _try_augmentation(race):
        pass
    best, baseline = race.best(), race.best(baseline=True)
    stage = max(race.standings[r.candidate.name].stage for r in (best, baseline)) - 1
    baseline = race.train_to(baseline.candidate, stage) or race.best(baseline=True)
    best = race.train_to(best.candidate, stage) or race.best()
    best = ranked([best, baseline], race.metric[1])[0]
    large = race.larger(best)
    if large == best != baseline and is_better(race.metric, best, baseline):
        return race.augmented(best), best, baseline
    large = race.larger(baseline) if large == best else large
    return race.augmented(large), large if best == baseline else best, large


def _try_augmentation(race: Race) -> bool:
    """Compare the best candidate with more augmentation in a round, if time allows and it may help.

    It may help if none has been compared so far, or if the candidate memorizes the training
    samples. This round ends before ``AUGMENTED``. Return whether there was a round.
    """
    result, known = race.larger(race.best()), race.known()
    name, stage = result.candidate.name, race.stage(result)
    relatives = [c for c in known if c.changes_setting_of(result.candidate)]
    relatives += [] if result.memorizes else [result.candidate]
    start = race.slices.start(result, stage)
    variants = race.pool.variants(result.candidate, start, known, augments=result.memorizes)
    new = next(variants, None)
    if new is None or not new.setting.augments or start.best:
        return False
    entries = [Entry(name, stage), Entry(new.name, stage)]
    has_time = (
        race.config.plan.equal == "epochs"
        or race.fitting(entries, race.share(AUGMENTED)) == entries
    )
    if not has_time or any(c.setting.augments for c in relatives):
        return False
    race.enter([new])
    race.decisions.record(f"round.{race.rounds}", entries)
    race.explore(0.0)
    return True


def _new_duel(race: Race, winner: Result, best: Result, baseline: Result) -> Duel:
    """Return a duel after keeping the checkpoints of both networks."""
    if best != baseline:
        for name, result in (("found", best), ("baseline", baseline)):
            files = ("checkpoint.safetensors", "split.npz")  # what scores a network
            copy_files(result.directory, race.directory / DUEL / name, files)
    return Duel(
        budget=race.stopwatch.total,
        winner=winner.candidate.name,
        baseline=baseline.candidate.name,
        baseline_summary=dict(baseline.summary),
        doubtful=winner.candidate.is_baseline and not best.candidate.is_baseline,
        search_gain=[]
        if winner.candidate.is_baseline
        else improvement(race.metric, winner, baseline),
    )


def train_winner(race: Race, name: str, reserve: float, *, refits: bool) -> Result:
    """Train the winner until its final run begins; return its result.

    The final run begins earlier if the winner does not memorize the training samples. On
    Fashion-MNIST in experiments/learning_rates.py, longer falls of the rate are then better.

    Args:
        race: The race.
        name: Name of the winner.
        reserve: Seconds to keep for test scores.
        refits: Whether the final run trains on the validation samples. Otherwise, there is only a
            final run with a falling rate.
    """
    plan, result = race.config.plan, race.results[name]
    if plan.equal == "epochs":
        if plan.epochs is not None:
            race.train_up_to({name: counted(result.candidate, plan.epochs)})
            result = _saved_answer(race, race.results[name])
        return result
    waves = math.ceil(race.folds / race.workers)  # of the runs of the candidate
    begin = partial(begin_of_final_runs, race, result.seconds, reserve, waves)
    ends = race.decisions.decide(
        f"end-{race.stopwatch.total:.0f}-{name}",
        list[float],
        lambda: [begin(float(refits)), begin(FALLING)],
    )
    while not result.is_exhausted:
        falls = race.folds == 1 and rate_falls(race, result)
        if (left := (ends[falls] - race.stopwatch.seconds) / waves) <= 1:
            break
        # In several parts, so that the answer so far is saved and the training may end early.
        before, result = result, _saved_answer(race, race.train_for(result.candidate, left))
        if result == before:  # the run has failed
            break
    return result


def _saved_answer(race: Race, result: Result) -> Result:
    race.console.info(f"winner: {race.describe(result)}")
    write_answer(race.directory, result.directory, result.candidate.architecture)
    return result
