"""Rounds of trainings: candidates train for equal times, several at the same time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from darts.config import ConfigError
from darts.finding.budget import RUN_OVERHEAD, RoundTime, Stopwatch
from darts.finding.candidates import Candidate, Networks
from darts.finding.decisions import Decisions
from darts.finding.folds import combine
from darts.finding.outlook import StageTimes
from darts.finding.results import FoldTraining, Result, costs_of_a_failed_run, ranked, run_name
from darts.finding.run_pool import Job, Outcome, RunPool
from darts.finding.speed import measure_seconds_per_epoch
from darts.reading import JsonObject
from darts.tasks.metrics import Metric
from darts.tracking import Console, format_duration, format_value
from darts.training.interrupt import Interrupt

MIN_EPOCHS = 3
"""A training with fewer epochs says little about the network."""


CONTENTION = 1.4
"""Assumed slowdown by simultaneous trainings, until complete trainings show the real one."""


LARGER_SPEED = 4.0
"""Largest factor by which the time per MAC may shrink with wider layers or larger images."""


class Stopped(Exception):
    """The user has interrupted the run; everything that is complete is saved."""


@dataclass
class Trainer:
    """Trains candidates and stores the results of all trainings so far.

    Attributes:
        directory: Directory of the run; its folder ``runs`` holds those of the trainings.
        networks: The networks of each family by its name.
        metric: Name of the steering metric and its direction.
        max_epochs: Largest number of epochs of a training.
        equal: What the trainings of a round have in common, "time" or "epochs".
        pool: Executes trainings.
        workers: Number of simultaneous trainings.
        console: Shows progress; its steps are seconds.
        interrupt: Records signals.
        stopwatch: Measures the time that is left.
        decisions: Saves decisions that depend on the time.
        times: Records when the stages begin.
        results: All complete trainings so far by name of the run.
        other_costs: Costs of all complete searches so far, and of the runs that failed.
        folds: Number of trainings of each candidate, each with another part of the samples held
            out; see ``darts.finding.folds``.
    """

    directory: Path
    networks: Mapping[str, Networks]
    metric: tuple[str, Metric]
    max_epochs: int
    equal: str
    pool: RunPool
    workers: int
    console: Console
    interrupt: Interrupt
    stopwatch: Stopwatch
    decisions: Decisions
    times: StageTimes
    results: dict[str, Result] = field(default_factory=dict)
    other_costs: list[JsonObject] = field(default_factory=list)
    folds: int = 1
    _speeds: dict[tuple[str, str], float] = field(default_factory=dict)
    _shown: float = 0.0
    _problem: str = ""

    def round(
        self,
        name: str,
        candidates: Sequence[Candidate],
        seconds: float,
        epochs: int | None = None,
        *,
        min_networks: int = 1,
    ) -> list[Result]:
        """Train candidates for equal times; return the results, the best first.

        Candidates with too few epochs are dropped, but never the first one.

        Args:
            name: Name of the round, for decisions and messages.
            candidates: Candidates to train, the most promising first.
            seconds: Wall-clock time of the round.
            epochs: Length of all trainings; None to divide the time.
            min_networks: Smallest number of networks; none is trained if time allows only fewer.

        Raises:
            ConfigError: If all trainings of the round failed.
            Stopped: If the user interrupts them.
        """
        by_run = {f"{c.name}.{c.setting.name}": c for c in candidates}

        def choose() -> dict[str, int]:
            if epochs is not None:
                return dict.fromkeys(by_run, epochs)
            workers = max(self.workers, 1)
            costs: dict[str, float] = {}
            for run, candidate in by_run.items():
                bound = self.folds * self._lower_bound(candidate)
                is_hopeless = len(costs) > 0 and MIN_EPOCHS * bound > seconds * workers
                if not is_hopeless:
                    bound = self.folds * self.seconds_per_epoch(candidate)
                costs[run] = bound
            time = RoundTime(seconds, self.max_epochs, RUN_OVERHEAD, workers, self.folds)
            return time.divide(costs, min_epochs=MIN_EPOCHS, equal=self.equal)

        lengths = self.decisions.decide(f"epochs.{name}", dict[str, int], choose)
        left = format_duration(self.stopwatch.left)
        if len(by_run) < min_networks:
            self.console.info(f"{name}: skipped, because only one network is left")
            return []
        if len(lengths) < min_networks:
            self.console.info(
                f"{name}: skipped, because fewer than {min_networks} networks can train for "
                f"{MIN_EPOCHS} epochs; {left} left"
            )
            return []
        self.console.info(
            f"{name}: {len(lengths)} of {len(by_run)} networks, {_span(lengths.values())} epochs, "
            f"{left} left"
        )
        entries = [(by_run[run], n) for run, n in lengths.items() if run in by_run]
        results = self.train_candidates(entries)
        if not results:
            raise ConfigError(f"all trainings of the round {name} failed: {self._problem}")
        return ranked(results, self.metric[1])

    def train_candidates(
        self, entries: Sequence[tuple[Candidate, int]], *, folds: int | None = None
    ) -> list[Result]:
        """Train each candidate for a number of epochs; return the results of those that succeed.

        Args:
            entries: Candidates and numbers of epochs.
            folds: Number of trainings of each candidate; None for ``folds`` of the trainer.

        Raises:
            Stopped: If the user interrupts them.
        """
        count = self.folds if folds is None else folds
        parts: Sequence[int | None] = range(count) if count > 1 else [None]
        by_run = {run_name(*entry): entry for entry in entries}
        jobs = {run: [self._job(*entry, part) for part in parts] for run, entry in by_run.items()}
        outcomes = self.train([job for own in jobs.values() for job in own])
        self._problem = next(
            (o.problem for o in outcomes.values() if o.problem), "none was started"
        )
        results = []
        for run, own in jobs.items():
            trainings = [
                FoldTraining(job.directory, summary)
                for job in own
                if (summary := outcomes[job.name].summary) is not None
            ]
            if len(trainings) == len(own):
                results.append(self._record(*by_run[run], trainings))
            else:
                self.other_costs += [training.summary for training in trainings]
        return results

    def train(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """Execute runs; return their outcomes by name.

        Raises:
            Stopped: If the user interrupts them.
        """
        outcomes = self.pool.run(jobs, on_done=self._report, stopping=self.stopping)
        self.stopwatch.save(now=True)
        if len(outcomes) < len(jobs):
            raise Stopped
        for job in jobs:
            summary = outcomes[job.name].summary
            if summary is None:
                self.other_costs += costs_of_a_failed_run(job.directory)
            elif job.command == "search":
                self.other_costs.append(summary)
        return outcomes

    def seconds_per_epoch(self, candidate: Candidate) -> float:
        """Return the seconds per epoch, from a complete training of the network or predicted.

        Predictions are multiplied by the ratio of measured to predicted seconds per epoch: the
        largest of the same family's trainings, so that the round does not take longer than
        planned, or else the median of all trainings.
        """
        trained = list(self.results.values())
        own = [
            result
            for result in trained
            if (result.candidate.family, result.candidate.genotype)
            == (candidate.family, candidate.genotype)
        ]
        if own:
            return max(own, key=lambda result: result.epochs).seconds_per_epoch
        return self._ratio(candidate.family) * self._predicted(candidate)

    def stopping(self) -> bool:
        """Advance the progress bar; return whether a signal has arrived."""
        seconds = min(self.stopwatch.seconds, self.stopwatch.total)
        if int(seconds) > int(self._shown):
            self.console.step(int(seconds) - int(self._shown))
            self._shown = seconds
        self.stopwatch.save()
        return self.interrupt.received is not None

    def _ratio(self, family: str) -> float:
        """Return by how much trainings of a family take longer than predicted."""
        ratios: dict[str, list[float]] = {}
        for result in self.results.values():
            ratio = result.seconds_per_epoch / self._predicted(result.candidate)
            ratios.setdefault(result.candidate.family, []).append(ratio)
        if family in ratios:
            return max(ratios[family])
        if ratios:
            return statistics.median(ratio for own in ratios.values() for ratio in own)
        return CONTENTION if self.workers > 1 else 1.0

    def _lower_bound(self, candidate: Candidate) -> float:
        """Return a lower bound of the seconds per epoch without a new measurement; 0 if unknown.

        The bound saves the measurement of networks that are far too large, a single step of which
        may take seconds. It follows from measured networks of the same architecture in other
        families: the time per MAC is smaller by at most the factor ``LARGER_SPEED``. The time per
        MAC of other architectures says nothing, because a bag of words, for example, needs hardly
        any MACs. The bound is 0, too, if this network has been measured.
        """
        networks = self.networks[candidate.family]
        if (candidate.family, candidate.genotype) in self._speeds:
            return 0.0
        times = [
            seconds / self.networks[family].costs(genotype)["macs"]
            for (family, genotype), seconds in self._speeds.items()
            if genotype == candidate.genotype
        ]
        if not times:
            return 0.0
        return min(times) * networks.costs(candidate.genotype)["macs"] / LARGER_SPEED

    def _predicted(self, candidate: Candidate) -> float:
        key = (candidate.family, candidate.genotype)
        if key not in self._speeds:
            networks = self.networks[candidate.family]
            self._speeds[key] = measure_seconds_per_epoch(
                candidate.genotype, networks.config, networks.data, workers=self.workers
            )
        return self._speeds[key]

    def _job(self, candidate: Candidate, epochs: int, part: int | None) -> Job:
        networks = self.networks[candidate.family]
        overrides = networks.overrides(
            candidate.genotype, setting=candidate.setting, epochs=epochs, fold=part
        )
        run = run_name(candidate, epochs) + ("" if part is None else f".fold{part}")
        return Job(run, "retrain", self.directory / "runs" / run, overrides)

    def _report(self, job: Job, outcome: Outcome) -> None:
        """Print a line about a run that has ended."""
        key = f"valid_{self.metric[0]}"
        if outcome.summary is None:
            self.console.warn(f"{job.name}: {outcome.problem}")
        elif key in outcome.summary and self.folds == 1:
            value = format_value(key, outcome.summary[key])
            seconds = format_duration(float(outcome.summary["seconds"]))
            self.console.info(f"{job.name}: {key} {value} {seconds}")

    def _record(
        self, candidate: Candidate, epochs: int, trainings: Sequence[FoldTraining]
    ) -> Result:
        """Save and return the result of the trainings of a candidate."""
        name = f"valid_{self.metric[0]}"
        if len(trainings) > 1:
            selection = self.networks[candidate.family].config.selection
            result = combine(candidate, epochs, trainings, self.metric, selection=selection)
            score = format_value(name, result.score)
            self.console.info(f"{result.run}: {name} {score}, mean of {len(trainings)} trainings")
        else:
            (training,) = trainings
            known = training.summary.get(name)
            value = float(known) if isinstance(known, int | float) else math.nan
            result = Result(candidate, epochs, training.directory, training.summary, value)
        self.results[result.run] = result
        return result


def _span(lengths: Collection[int]) -> str:
    low, high = min(lengths), max(lengths)
    return str(low) if low == high else f"{low} to {high}"
