"""The second part of ``darts.find``: the best candidate trains alone and becomes the answer."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from darts.finding.answer import write_answer
from darts.finding.candidates import Candidate
from darts.finding.race import Race
from darts.finding.results import FoldRun, Result, ranked
from darts.finding.slices import ENDLESS
from darts.recipes.gain import validation_interval
from darts.recipes.rules import Values
from darts.running.jobs import Job
from darts.tracking import format_duration
from darts.typed_values import PlainDict

CHOICE_LEVEL = 0.6
"""Confidence level of the interval of a difference on validation data. A network replaces the best
baseline if its interval lies above 0, which has a probability of about four fifths."""

PLANNED = 0.97
"""Share of the budget after which nothing trains; test scores and files take the rest."""

REFITTED = 0.5
"""Share of the winner's time alone that also uses the validation samples."""

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


class SavedDuel(TypedDict):
    """A ``Duel`` in ``decisions.json``, with the round after which it took place."""

    rounds: int
    winner: str
    baseline: str
    baseline_summary: PlainDict
    doubtful: bool


def duel(race: Race) -> Duel:
    """Train the best candidate and the best baseline for equally long, and compare both.

    The best of several networks often has the best score by chance, and the baseline is known to
    work. The duel of a winner is not repeated, because the winner trains on and the other does not.

    Raises:
        Stopped: If the user interrupts the race.
    """
    saved = race.decisions.decide("duel", SavedDuel, lambda: _decide(race))
    winner = race.results.get(saved["winner"])
    if winner is None or (saved["rounds"] != race.rounds and winner != race.best()):
        saved = _decide(race)
        race.decisions.record("duel", saved)
        winner = race.results[saved["winner"]]
    baseline = Result(race.candidates[saved["baseline"]], (), saved["baseline_summary"], math.nan)
    return Duel(winner, baseline, saved["doubtful"])


def answer_so_far(race: Race) -> Result:
    """Return the winner of the duel, or the best candidate before it."""
    winner = ""
    if "duel" in race.decisions:
        winner = race.decisions.decide("duel", SavedDuel, lambda: _decide(race))["winner"]
    return race.results.get(winner) or race.best()


def _decide(race: Race) -> SavedDuel:
    best, baseline = race.best(), race.best(baseline=True)
    stage = max(race.standings[r.candidate.name].stage for r in (best, baseline)) - 1
    baseline = race.train_to(baseline.candidate, stage) or race.best(baseline=True)
    best = race.train_to(best.candidate, stage) or race.best()
    best = ranked([best, baseline], race.metric[1])[0]
    winner = best
    if best != baseline:
        for name, result in (("found", best), ("baseline", baseline)):
            _copy(result.directory, race.directory / DUEL / name)
        winner = best if is_better(race, best, baseline) else baseline
    return SavedDuel(
        rounds=race.rounds,
        winner=winner.candidate.name,
        baseline=baseline.candidate.name,
        baseline_summary=dict(baseline.summary),
        doubtful=winner != best,
    )


def _copy(run: Path, target: Path) -> None:
    """Copy what scores the network of a run."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("checkpoint.pt", "split.npz"):
        shutil.copyfile(run / name, target / name)


def train_winner(race: Race, chosen: Duel, reserve: float, *, refits: bool) -> Result:
    """Train the winner with the time that is left; return its result.

    Args:
        race: The race.
        chosen: The winner.
        reserve: Seconds to keep for test scores.
        refits: Whether the last part of the time also uses the validation samples.

    Raises:
        Stopped: If the user interrupts the race.
    """
    result, plan = chosen.winner, race.config.plan
    if plan.equal == "epochs":
        if plan.epochs is not None:
            epochs = max(plan.epochs - result.candidate.start.epochs, 1)
            longer = race.train_alone(result.candidate, (f"epochs={epochs}",))
            result = _kept(race, result, longer)
        return result
    share = 1 - REFITTED if refits else 1.0
    waves = math.ceil(race.folds / race.execution.executor.workers)  # of the runs of the candidate
    end = race.decisions.decide(
        f"end-{race.stopwatch.total:.0f}-{result.candidate.name}",
        float,
        lambda: race.stopwatch.seconds + share * _left(race, reserve),
    )
    while not result.is_exhausted and (left := (end - race.stopwatch.seconds) / waves) > 1:
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


def _left(race: Race, reserve: float) -> float:
    return max(race.stopwatch.until(PLANNED) - reserve, 0.0)


def refit(race: Race, result: Result, reserve: float) -> FoldRun | None:
    """Train the winner with the validation samples, too; return the run, or None if it fails.

    If more training of the winner does not help, the training begins with random weights and ends
    at the best epoch; without time for this, there is no refit. Otherwise it continues from the
    last weights of the winner.

    Raises:
        Stopped: If the user interrupts the race.
    """
    candidate, decisions = result.candidate, race.decisions
    values: Values = {"validation": 0, "selection": "last"}
    seconds = _left(race, reserve)
    is_timed = race.config.plan.equal == "time"

    def choose() -> list[str]:
        if not is_timed or (anew_seconds(race, result) <= seconds and result.is_exhausted):
            return [f"epochs={result.best_epoch}"]
        if seconds < 1 or result.is_exhausted:
            return []
        start = f"start={result.directory.resolve()}"
        return [
            start,
            "optimizer.warmup_epochs=0",
            f"epochs={ENDLESS}",
            f"max_seconds={seconds:.1f}",
        ]

    # A run that is continued with a larger budget ends with another refit.
    name = f"refit-{race.stopwatch.total:.0f}" if is_timed else "refit"
    length = decisions.decide(name, list[str], choose)
    if not length:
        return None
    setting = replace(candidate.setting, values={**candidate.setting.values, **values})
    networks = race.pool.networks[candidate.family]
    overrides = (*networks.overrides(candidate.genotype, setting.values), *length)
    race.console.info(
        f"refit: training {candidate.name} with the validation samples for "
        f"{format_duration(seconds) if is_timed else f'{result.best_epoch} epochs'}"
    )
    threads = race.execution.threads if is_timed else 1
    job = Job(name, "retrain", race.directory / "runs" / name, overrides, threads=threads)
    summary = race.execution.run([job])[name].summary
    return None if summary is None else FoldRun(job.directory, summary)


def anew_seconds(race: Race, result: Result) -> float:
    """Return about how long a refit from random weights takes."""
    share = result.best_epoch / max(result.epochs, 1)
    return share * result.seconds / (1 - held_out_share(race, result.candidate))


def is_better(race: Race, new: Result, old: Result) -> bool:
    """Return whether a network is clearly better than another one, on validation data."""
    if ranked([old, new], race.metric[1])[0] == old:
        return False
    bounds = validation_interval(
        new.directories, old.directories, metric=race.metric[0], level=CHOICE_LEVEL
    )
    return bounds is None or bounds[0] > 0


def held_out_share(race: Race, candidate: Candidate) -> float:
    """Return the share of the training samples that is held out; 0 if a refit cannot use it.

    A published validation split is not held out: a training without validation does not read it.
    """
    networks = race.pool.networks[candidate.family]
    keys = ("validation", "validation_fold", "selection")
    if networks.data.held_out_loader("valid", {}) is not None or networks.user_keys & set(keys):
        return 0.0
    return float(networks.config.validation)
