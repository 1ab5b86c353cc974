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
from darts.finding.race import EXPLORED, Race
from darts.finding.results import FoldRun, Result, ranked
from darts.finding.slices import ENDLESS, continued, counted
from darts.recipes.rules import Values
from darts.running.jobs import Job
from darts.tracking import format_duration
from darts.tracking.metrics import mean_curve

# Share of the budget after which nothing trains; test scores and files take the rest.
PLANNED = 0.97

# Largest length of a final run with a falling rate, in units of all training before. Most networks
# that memorize the training samples then begin to do so before this run.
FALLING = (1 - EXPLORED) / EXPLORED


class Run(NamedTuple):
    """A training run: what trains, and the overrides that end it."""

    name: str
    candidate: Candidate
    length: Sequence[str]


def final_runs(
    race: Race, winners: Sequence[Result], reserve: float, *, refits: bool
) -> dict[str, Result]:
    """Execute the last runs of one or more networks at the same time.

    If more training of a network does not help, its final run begins with random weights, uses all
    samples and ends after ``useful_epochs``; without time for this, there is no final run. If the
    network has continued other candidates, their training is repeated first, with their settings.

    Args:
        race: The race.
        winners: The networks.
        reserve: Seconds to keep for test scores.
        refits: Whether the runs also train on the validation samples.

    Returns:
        The results of the runs by the names of the candidates. Runs that have failed, or have
        validation samples and no better score on them, are left out.
    """
    waves = max(math.ceil(len(winners) / race.workers), 1)
    seconds = seconds_left(race, reserve) / waves
    is_timed = race.config.plan.equal == "time"

    def choose(winner: Result) -> list[str]:
        # Rounds may have taken longer than planned, so this uses what is left of the whole budget.
        left = (race.stopwatch.until(1.0) - reserve) / waves
        anew = not is_timed or (winner.is_exhausted and anew_seconds(race, winner) <= left)
        if refits and anew:
            return [f"epochs={useful_epochs(winner)}"]
        if anew or seconds < 1 or winner.is_exhausted or (race.folds > 1 and not refits):
            return []
        falls = rate_falls(race, winner)
        most = winner.seconds * (FALLING if falls else 1) if len(winners) > 1 else math.inf
        end = f"max_seconds={min(seconds, most):.1f}"
        return [f"optimizer.cooldown={int(falls)}", f"epochs={ENDLESS}", end]

    how = " with the validation samples" if refits else ""
    chains: dict[str, list[Run]] = {}
    done: dict[str, Result] = {}
    for winner in winners:
        candidate = winner.candidate
        # A run that is continued with a larger budget ends with another final run.
        budget = f"-{race.stopwatch.total:.0f}" if is_timed else ""
        name = f"final{budget}-{candidate.name}"
        length = race.decisions.decide(name, list[str], partial(choose, winner))
        if len(length) == 1:
            epochs = length[0].removeprefix("epochs=")
            chains[candidate.name] = _repeated(race, name, candidate, int(epochs))
            race.console.info(f"final run of {candidate.name}{how}: {epochs} epochs")
        elif length:
            chains[candidate.name] = [Run(name, candidate, length)]
            done[candidate.name] = winner
            race.console.info(f"final run of {candidate.name}{how}: {format_duration(seconds)}")
    values: Values = {"validation": 0, "selection": "last"} if refits else {}
    threads = race.execution.executor.threads if len(winners) == 1 else None
    for step in range(max(map(len, chains.values()), default=0)):
        runs = {
            name: chain[step]
            for name, chain in chains.items()
            if len(chain) > step and (step == 0 or name in done)
        }
        finished = _train(race, runs, done, values, threads if is_timed else 1)
        done = {name: own for name, own in done.items() if name not in runs} | finished
    if refits:
        return done
    before = {winner.candidate.name: winner for winner in winners}
    return {n: r for n, r in done.items() if ranked([before[n], r], race.metric[1])[0] is r}


def _repeated(race: Race, name: str, candidate: Candidate, end: int) -> list[Run]:
    """Return what trains a candidate anew up to an epoch, after those that it has continued."""
    start, own = candidate.start, Run(name, candidate, counted(candidate, end))
    if not start.parent:
        return [own]
    parent = race.candidates[start.parent]
    return [*_repeated(race, f"{name}-{start.epochs}", parent, start.epochs), own]


def useful_epochs(result: Result) -> int:
    """Return the last epoch at which the validation loss was no higher than at the best epoch.

    With few validation samples, the best score is often one of many level scores by chance.
    """
    begin, rows = result.candidate.start.epochs, mean_curve(result.directories).items()
    losses = {begin + n: row["valid_loss"] for n, row in rows if "valid_loss" in row}
    limit = losses.get(result.best_epoch, -math.inf)
    return max((n for n, loss in losses.items() if loss <= limit), default=result.best_epoch)


def rate_falls(race: Race, result: Result) -> bool:
    """Return whether the rate falls in a final run, because this helps.

    It does unless a network with random initial weights memorizes the training samples.
    """
    return not result.memorizes or race.pool.fine_tunes(result.candidate)


def _train(
    race: Race,
    runs: Mapping[str, Run],
    before: Mapping[str, Result],
    values: Values,
    threads: int | None,
) -> dict[str, Result]:
    """Execute runs, which continue the results in ``before``; return those that have not failed."""
    jobs = []
    for name, (own, candidate, length) in runs.items():
        networks = race.pool.networks[candidate.family]
        words = networks.overrides(candidate.genotype, candidate.setting.values | values)
        if name in before:
            # A constant rate may have damaged trained weights after their best epoch.
            best = ("start_epoch=best",) if race.pool.fine_tunes(candidate) else ()
            words += (*continued(before[name].directory), *best)
        directory = race.directory / "runs" / own
        jobs.append(Job(own, "retrain", directory, (*words, *length), threads=threads))
    outcomes = race.execution.run(jobs)
    finished = {}
    for job, (name, run) in zip(jobs, runs.items(), strict=True):
        summary = outcomes[job.name].summary
        if summary is not None:
            start = Start()
            if (parent := before.get(name)) is not None:
                start = Start(parent.candidate.name, 0, parent.seconds, parent.epochs)
            candidate, fold = replace(run.candidate, start=start), FoldRun(job.directory, summary)
            finished[name] = combine(candidate, [fold], race.metric, selection="last")
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
