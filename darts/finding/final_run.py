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

from darts.config import quoted
from darts.finding.candidates import Candidate, Start
from darts.finding.folds import combine, mean_curve
from darts.finding.race import Race
from darts.finding.results import FoldRun, Result
from darts.finding.slices import ENDLESS, counted
from darts.recipes.rules import Values
from darts.running.jobs import Job
from darts.tracking import format_duration

PLANNED = 0.97
"""Share of the budget after which nothing trains; test scores and files take the rest."""


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
        return _continued(winner, seconds)

    # A run that is continued with a larger budget ends with another final run.
    name = f"final-{race.stopwatch.total:.0f}-{winner.candidate.name}" if is_timed else "final"
    length = race.decisions.decide(name, list[str], choose)
    if not length:
        return None
    how = " with the validation samples" if refits else ""
    is_anew = len(length) == 1
    until = f"{length[0].removeprefix('epochs=')} epochs" if is_anew else format_duration(seconds)
    race.execution.console.info(f"final run of {winner.candidate.name}{how}: {until}")
    values: Values = {"validation": 0, "selection": "last"} if refits else {}
    train = partial(
        _train, race, values=values, threads=race.execution.executor.threads if is_timed else 1
    )
    if not is_anew:
        return train({name: Run(winner.candidate, length, winner)}).get(name)

    def repeat(candidate: Candidate, end: int, name: str) -> Result | None:
        """Train a candidate anew up to an epoch, after the candidate that it has continued."""
        before = None
        if parent := candidate.start.parent:
            begin = candidate.start.epochs
            before = repeat(race.candidates[parent], begin, f"{name}-{begin}")
            if before is None:
                return None
        return train({name: Run(candidate, counted(candidate, end), before)}).get(name)

    return repeat(winner.candidate, int(length[0].removeprefix("epochs=")), name)


def useful_epochs(result: Result) -> int:
    """Return the last epoch at which the validation loss was no higher than at the best epoch.

    With few validation samples, the best score is often one of many level scores by chance.
    """
    begin = result.candidate.start.epochs
    curve = mean_curve(result.runs)
    losses = {begin + n: row["valid_loss"] for n, row in curve.items() if "valid_loss" in row}
    limit = losses.get(result.best_epoch, -math.inf)
    useful = (epoch for epoch, loss in losses.items() if loss <= limit)
    return max(useful, default=result.best_epoch)


def final_runs(race: Race, finalists: Sequence[Result], reserve: float) -> list[Result]:
    """Continue several networks as ``final_run`` does; return their results.

    A network whose run fails keeps its result.
    """
    waves = -(-len(finalists) // race.execution.executor.workers)
    seconds = seconds_left(race, reserve) / waves
    names = {f"final-{race.stopwatch.total:.0f}-{f.candidate.name}": f for f in finalists}
    lengths = {
        name: race.decisions.decide(name, list[str], partial(_continued, result, seconds))
        for name, result in names.items()
    }
    runs = {n: Run(result.candidate, lengths[n], result) for n, result in names.items()}
    finished = _train(race, runs, values={}, threads=None)
    return [finished.get(name, result) for name, result in names.items()]


def _continued(result: Result, seconds: float) -> list[str]:
    """Return the overrides that continue a run for seconds, with a falling rate if this helps."""
    return [
        f"optimizer.cooldown={0 if result.memorizes else 1}",
        f"epochs={ENDLESS}",
        f"max_seconds={seconds:.1f}",
    ]


def _train(
    race: Race, runs: Mapping[str, Run], *, values: Values, threads: int | None
) -> dict[str, Result]:
    """Execute final runs; return the results of those that have not failed, by name."""
    jobs = []
    for name, run in runs.items():
        networks = race.pool.networks[run.candidate.family]
        setting = {**run.candidate.setting.values, **values}
        overrides = networks.overrides(run.candidate.genotype, setting)
        if run.before is not None:
            file = quoted(str(run.before.directory.resolve()))
            overrides += (f"start={file}", "optimizer.warmup_epochs=0")
        directory = race.directory / "runs" / name
        jobs.append(Job(name, "retrain", directory, (*overrides, *run.length), threads=threads))
    outcomes = race.execution.run(jobs)
    finished = {}
    for job, (name, run) in zip(jobs, runs.items(), strict=True):
        summary = outcomes[name].summary
        if summary is not None:
            before, start = run.before, Start()
            if before is not None:
                start = Start(before.candidate.name, 0, before.seconds, before.epochs)
            candidate = replace(run.candidate, start=start)
            fold = FoldRun(job.directory, summary)
            finished[name] = combine(candidate, [fold], race.metric, selection="last")
    return finished


def begin_of_final_runs(
    race: Race, trained: float, reserve: float, waves: int, final_waves: float = 1.0
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
