"""The last run of the winner: the rate may fall, and the validation samples are used for training.

References:
    Zhai et al., "Scaling Vision Transformers", arXiv:2106.04560, section 3.5: a constant learning
    rate, and a fall when the training is to end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from darts.finding.candidates import Candidate, Start
from darts.finding.folds import combine
from darts.finding.race import Race
from darts.finding.results import FoldRun, Result, ranked
from darts.finding.slices import ENDLESS, continued, counted
from darts.recipes.rules import Values
from darts.running.jobs import Job
from darts.tracking import format_duration
from darts.tracking.metrics import mean_curve

# Share of the budget after which nothing trains; test scores and files take the rest.
PLANNED = 0.97


class Run(NamedTuple):
    """A final run.

    Attributes:
        candidate: What trains.
        length: Overrides that end the run.
        before: The training that it continues; None for random weights.
    """

    candidate: Candidate
    length: Sequence[str]
    before: Result | None


def final_run(race: Race, winner: Result, reserve: float, *, refits: bool) -> Result | None:
    """Execute the last run of the winner; return its result, or None if there is no such run.

    If more training of the winner does not help, its final run begins with random weights, uses all
    samples and ends after ``useful_epochs``; without time for this, there is no final run. If the
    winner has continued other candidates, their training is repeated first, with their settings.

    Args:
        race: The race.
        winner: The winner.
        reserve: Seconds to keep for test scores.
        refits: Whether the run also trains on the validation samples.
    """
    seconds = seconds_left(race, reserve)
    is_timed = race.config.plan.equal == "time"

    def choose() -> list[str]:
        # Rounds may have taken longer than planned, so this uses what is left of the whole budget.
        left = race.stopwatch.until(1.0) - reserve
        anew = not is_timed or (winner.is_exhausted and anew_seconds(race, winner) <= left)
        if refits and anew:
            return [f"epochs={useful_epochs(winner)}"]
        if anew or seconds < 1 or winner.is_exhausted or (race.folds > 1 and not refits):
            return []
        return _length(race, winner, seconds)

    # A run that is continued with a larger budget ends with another final run.
    name = _name(race, winner) if is_timed else "final"
    length = race.decisions.decide(name, list[str], choose)
    if not length:
        if refits:
            race.console.info(f"no final run of {winner.candidate.name}: too little time is left")
        return None
    # Set if the run begins with random weights.
    epochs = length[0].removeprefix("epochs=") if len(length) == 1 else ""
    how = " with the validation samples" if refits else ""
    until = f"{epochs} epochs" if epochs else format_duration(seconds)
    race.console.info(f"final run of {winner.candidate.name}{how}: {until}")
    values: Values = {"validation": 0, "selection": "last"} if refits else {}
    threads = race.execution.executor.threads if is_timed else 1
    train = partial(_train, race, values=values, threads=threads)

    def repeat(name: str, candidate: Candidate, end: int) -> Result | None:
        """Train a candidate anew up to an epoch, after the candidate that it has continued."""
        start, before = candidate.start, None
        if start.parent:
            own = f"{name}-{start.epochs}"
            before = repeat(own, race.candidates[start.parent], start.epochs)
            if before is None:
                return None
        return train({name: Run(candidate, counted(candidate, end), before)}).get(name)

    if epochs:
        return repeat(name, winner.candidate, int(epochs))
    return train({name: Run(winner.candidate, length, winner)}).get(name)


def useful_epochs(result: Result) -> int:
    """Return the last epoch at which the validation loss was no higher than at the best epoch.

    With few validation samples, the best score is often one of many level scores by chance.
    """
    begin, rows = result.candidate.start.epochs, mean_curve(result.directories).items()
    losses = {begin + n: row["valid_loss"] for n, row in rows if "valid_loss" in row}
    limit = losses.get(result.best_epoch, -math.inf)
    return max((n for n, loss in losses.items() if loss <= limit), default=result.best_epoch)


def final_runs(race: Race, finalists: Sequence[Result], reserve: float) -> list[Result]:
    """Continue several networks as ``final_run`` does; return their results.

    A network whose run fails or has no better score keeps its result.
    """
    seconds = seconds_left(race, reserve) / math.ceil(len(finalists) / race.workers)
    runs = {}
    for result in finalists:
        name = _name(race, result)
        length = race.decisions.decide(name, list[str], partial(_length, race, result, seconds))
        runs[name] = Run(result.candidate, length, result)
    finished = _train(race, runs, values={}, threads=None)
    pairs = [(result, finished.get(_name(race, result), result)) for result in finalists]
    return [ranked(pair, race.metric[1])[0] for pair in pairs]


def _name(race: Race, result: Result) -> str:
    return f"final-{race.stopwatch.total:.0f}-{result.candidate.name}"


def rate_falls(race: Race, result: Result) -> bool:
    """Return whether the rate falls in a final run, because this helps.

    It does unless a network with random initial weights memorizes the training samples.
    """
    return not result.memorizes or race.pool.fine_tunes(result.candidate)


def _length(race: Race, result: Result, seconds: float) -> list[str]:
    """Return the overrides that continue a run for seconds."""
    cooldown = f"optimizer.cooldown={int(rate_falls(race, result))}"
    return [cooldown, f"epochs={ENDLESS}", f"max_seconds={seconds:.1f}"]


def _train(
    race: Race, runs: Mapping[str, Run], *, values: Values, threads: int | None
) -> dict[str, Result]:
    """Execute final runs; return the results of those that have not failed, by name."""
    jobs = []
    for name, (candidate, length, before) in runs.items():
        networks = race.pool.networks[candidate.family]
        words = networks.overrides(candidate.genotype, candidate.setting.values | values)
        if before is not None:
            # A constant rate may have damaged trained weights after their best epoch.
            best = ("start_epoch=best",) if race.pool.fine_tunes(candidate) else ()
            words += (*continued(before.directory), *best)
        directory = race.directory / "runs" / name
        jobs.append(Job(name, "retrain", directory, (*words, *length), threads=threads))
    outcomes = race.execution.run(jobs)
    finished = {}
    for job, (candidate, _, before) in zip(jobs, runs.values(), strict=True):
        summary = outcomes[job.name].summary
        if summary is not None:
            start = Start()
            if before is not None:
                start = Start(before.candidate.name, 0, before.seconds, before.epochs)
            own, fold = replace(candidate, start=start), FoldRun(job.directory, summary)
            finished[job.name] = combine(own, [fold], race.metric, selection="last")
    return finished


def begin_of_final_runs(
    race: Race, trained: float, reserve: float, waves: int, final_waves: float
) -> float:
    """Return when final runs begin, so that they are as long as the training before.

    A longer final run could overfit without being noticed, because it has no validation scores.

    Args:
        race: The race.
        trained: Seconds for which each run has trained so far.
        reserve: Seconds to keep for test scores.
        waves: Runs of each worker until then, one after the other.
        final_waves: Final runs of each worker, or the ratio of a final run to the training before.
    """
    left = seconds_left(race, reserve) - final_waves * trained
    return race.stopwatch.seconds + waves * max(left, 0.0) / (waves + final_waves)


def seconds_left(race: Race, reserve: float) -> float:
    """Return the seconds that are left for training."""
    return max(race.stopwatch.until(PLANNED) - reserve, 0.0)


def anew_seconds(race: Race, result: Result) -> float:
    """Return about how long a run on all samples takes that begins with random weights."""
    share = useful_epochs(result) / max(result.epochs, 1)
    return share * result.seconds / (1 - held_out_share(race, result.candidate))


def held_out_share(race: Race, candidate: Candidate) -> float:
    """Return the share of the training samples that is held out; 0 if no run may train on them.

    A published validation split does not count, because a run without validation does not read it.
    """
    networks = race.pool.networks[candidate.family]
    is_set = networks.user.keys() & {"validation", "validation_fold", "selection"}
    if is_set or networks.data.held_out_loader("valid", {}) is not None:
        return 0.0
    return float(networks.config.validation)
