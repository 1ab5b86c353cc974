"""The race of ``darts find``: candidates train in slices, and the better ones continue.

``docs/find.md`` describes the procedure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from darts.config import ConfigError
from darts.finding.answer import write_answer
from darts.finding.candidates import Candidate
from darts.finding.decisions import Decisions
from darts.finding.execution import Execution
from darts.finding.folds import combine
from darts.finding.policy import WORST, Entry, Standing, promoted
from darts.finding.proposals import Pool
from darts.finding.results import FoldRun, Result, augmented, is_better, ranked, signed
from darts.finding.slices import LONGEST, Slices, timed
from darts.judging.statistics import LEVEL
from darts.running.jobs import Job, Outcome, is_complete, read_summary
from darts.tasks.metrics import Metric
from darts.tracking import format_duration, format_value
from darts.tracking.race_log import Slice, log_slice

# Share of the budget in which candidates compete; the rest belongs to the best one. The time before
# the first round does not count, because in short budgets too few candidates would compete. What
# the best one has learned in the race is not lost, because variants continue its training.
EXPLORED = 0.5

# The first slice of a candidate is at least the budget divided by this number.
#
# In the replay, 16 costs 0.3 points and 128 is level, but more slices have more overhead.
SLICES = 64

# Candidates that enter in each round after the first. In the replay, 2 and 8 are level.
NEWCOMERS = 4


@dataclass
class Race:
    """The candidates and their results so far.

    Attributes:
        directory: Run directory; its folder ``runs`` has the run directories of the candidates.
        pool: Where candidates come from.
        metric: Name of the steering metric and its direction.
        execution: Executes training runs.
        decisions: Saves what a resumed run repeats.
        folds: Number of runs of each candidate, see ``darts.finding.folds``.
        candidates: All candidates so far by name.
        standings: Their scores by stage.
        results: The newest results by name.
        rounds: Number of complete rounds.
        overhead: Seconds of a slice outside of the training, as measured in the last round.
    """

    directory: Path
    pool: Pool
    metric: tuple[str, Metric]
    execution: Execution
    decisions: Decisions
    folds: int = 1
    candidates: dict[str, Candidate] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    rounds: int = 0
    overhead: float = 0.5
    _problem: str = ""

    def __post_init__(self) -> None:
        self.config = self.pool.config
        self.stopwatch, self.console = self.execution.stopwatch, self.execution.console
        self.workers = self.execution.executor.workers
        self.slices = Slices(self.directory, self.pool, self.decisions, self.folds)

    # Rounds.

    def explore(self, until: float) -> None:
        """Execute rounds until a share of the budget is used; first one that was interrupted."""
        if self.config.plan.equal == "time":
            self._measure_slice()
        while (name := f"round.{self.rounds}") in self.decisions or self._has_time(until):
            if name not in self.decisions:
                planned = self._plan(until)
                if not planned:
                    return
                self.decisions.record(name, planned)
            self.train(self.decisions.decide(name, list[Entry], list))
            if not self.results:  # before the round is saved: a resumed run repeats it
                raise ConfigError(f"all runs failed: {self._problem}")
            self.rounds += 1
            self._save()
            self._report_round()

    def _has_time(self, until: float) -> bool:
        plan = self.config.plan
        if plan.equal == "epochs":
            return self.rounds < (plan.rounds or 1)
        is_allowed = plan.rounds is None or self.rounds < plan.rounds
        return self.rounds == 0 or (is_allowed and self.stopwatch.until(until) > 0)

    def _plan(self, until: float) -> list[Entry]:
        """Return what trains in the next round: promoted candidates, then new ones."""
        names = promoted(list(self.standings.values()))
        if names:  # what may be ahead of the leader after longer training stays comparable
            leader = self.results[names[0]]
            names += [self.larger(leader).candidate.name, self.augmented(leader).candidate.name]
        new = self._newcomers(self.known())
        # A candidate that others continue trains to the same stage, so that they can be compared.
        names += [c.start.parent for c in new if c.start.parent and not c.start.best]
        standings = [self.standings[name] for name in dict.fromkeys(names)]
        entries = [Entry(own.name, own.stage) for own in standings if own.is_open]
        entries += [Entry(c.name, c.start.stage) for c in new]
        if self.config.plan.equal == "time":
            entries = self.fitting(entries, until)
        entering = {entry.name for entry in entries}
        self.enter([candidate for candidate in new if candidate.name in entering])
        return entries

    def share(self, share: float) -> float:
        """Return the share of the budget at which a share of the time after the start is used."""
        seconds = self.decisions.decide("begin", float, lambda: self.stopwatch.seconds)
        begin = min(seconds / self.stopwatch.total, 1.0)
        return begin + share * (1 - begin)

    def known(self) -> list[Candidate]:
        """Return the candidates that have trained.

        A killed process may have saved others without the round in which they enter.
        """
        return [self.candidates[name] for name in self.standings]

    def enter(self, new: Sequence[Candidate]) -> None:
        """Save new candidates, and the training that they continue."""
        for start in {c.start for c in new if c.start.parent}:
            self.slices.save_start(self.results[start.parent], start)
        self.candidates = {candidate.name: candidate for candidate in (*self.known(), *new)}
        self.decisions.record("candidates", list(self.candidates.values()))

    def fitting(self, entries: Sequence[Entry], until: float) -> list[Entry]:
        """Return the first entries that end before a share of the budget is used."""
        # The first round leaves time for the next ones, but trains one candidate per worker, and
        # one with and one without trained weights.
        kinds = {networks.family.fine_tunes for networks in self.pool.networks.values()}
        least = max(self.workers, len(kinds))
        left = self.stopwatch.until(until) / (1 if self.rounds else 2)
        chosen: list[Entry] = []
        # Until when each worker is busy, if a slice goes to the one that is free first.
        busy = [0.0] * self.workers
        for entry in entries:
            after = list(busy)
            for _ in range(self.folds):
                seconds = self.slices.seconds(entry.stage) + self.overhead
                after[after.index(min(after))] += seconds
            if max(after) <= left or (not self.rounds and len(chosen) < least):
                chosen.append(entry)
                busy = after
        return chosen

    def _newcomers(self, known: Sequence[Candidate]) -> list[Candidate]:
        """Return the baselines; later variants of the leader, and fewer of each next-best one.

        The leader may be a small network that learns fast. Larger networks may overtake it with the
        same setting, so they also need variants.
        """
        if not known:
            return self.pool.baselines()
        new: list[Candidate] = []
        count = self.config.plan.newcomers
        size = NEWCOMERS if count is None else count
        results = [self.augmented(r) for r in ranked(self.results.values(), self.metric[1])]
        for result in results:
            start = self.slices.start(result, self.stage(result))
            variants = self.pool.variants(result.candidate, start, [*known, *new])
            share = 1 if result == results[-1] else 2
            new += itertools.islice(variants, math.ceil((size - len(new)) / share))
        return new

    def restore(self) -> None:
        """Restore the state after the last complete round of an earlier process, if any.

        Slices that were interrupted end now, so that their candidates have scores.
        """
        saved = self.decisions.decide("candidates", list[Candidate], list)
        self.candidates = {candidate.name: candidate for candidate in saved}
        self.rounds = self.decisions.decide("rounds", int, lambda: 0)
        self.standings = self.decisions.decide("standings", dict[str, Standing], dict)
        slices = {name: self.slices.jobs(self.candidates[name]) for name in self.standings}
        for name, jobs in slices.items():
            if all(is_complete(job.directory) for job in jobs):
                self._note(name, jobs, [Outcome(read_summary(job.directory)) for job in jobs])
        interrupted = slices.keys() - self.results.keys()
        interrupted -= {name for name, own in self.standings.items() if own.has_failed}
        self._execute({name: jobs for name, jobs in slices.items() if name in interrupted})
        # The order decides between equal results.
        self.results = {n: self.results[n] for n in self.standings if n in self.results}

    def _save(self) -> None:
        """Save the standings, which ``restore`` reads."""
        self.decisions.record("standings", self.standings)
        self.decisions.record("rounds", self.rounds)

    # Slices.

    def _measure_slice(self) -> None:
        """Decide on the first slice: train the first candidates until the rate has risen.

        They train for one more epoch, so that each candidate has a score at the full rate. Networks
        that begin with trained weights have a score at once, so they do not count.
        """
        if "slice_seconds" in self.decisions:
            return
        total = self.stopwatch.total / self.folds
        jobs, networks = [], self.pool.networks
        risen = (c for c in self.pool.baselines() if not self.pool.fine_tunes(c))
        for candidate in itertools.islice(risen, self.workers):
            rise = networks[candidate.family].config.optimizer.warmup_epochs
            length = (f"epochs={rise + 1}", f"max_seconds={LONGEST * total:g}")
            jobs.append(self.slices.jobs(candidate, length)[0])
        summaries = (outcome.summary for outcome in self.execution.run(jobs).values())
        seconds = [float(summary["seconds"]) for summary in summaries if summary is not None]
        self.decisions.record("slice_seconds", max(*seconds, total / SLICES, 0.0))

    def train(self, entries: Sequence[Entry]) -> None:
        """Train candidates to their stages."""
        slices = {}
        for entry in entries:
            candidate = self.candidates[entry.name]
            length = self.slices.length(candidate, entry.stage)
            slices[entry.name] = self.slices.jobs(candidate, length)
        before, begin = self._trained_seconds(slices), self.stopwatch.seconds
        self._execute(slices)
        for entry in entries:
            self._enter(entry.name, entry.stage)
        runs = self.folds * len(entries)
        spent = min(self.workers, runs) * (self.stopwatch.seconds - begin)
        trained = self._trained_seconds(slices) - before
        self.overhead = max(spent - trained, 0.0) / runs

    def _enter(self, name: str, stage: int) -> None:
        """Enter the newest score of a candidate as the score of a stage."""
        result, first = self.results.get(name), self.candidates[name].start.stage
        standing = self.standings.setdefault(name, Standing(name, first=first))
        score = WORST if result is None else signed(result.score, self.metric[1])
        standing.scores[stage - first :] = [score]
        standing.is_open = result is not None and not result.is_exhausted

    def _trained_seconds(self, names: Iterable[str]) -> float:
        results = (self.results[name] for name in names if name in self.results)
        return sum(float(run.summary["seconds"]) for result in results for run in result.runs)

    def train_up_to(self, lengths: Mapping[str, Sequence[str]]) -> None:
        """Train candidates up to lengths at the same time; one that fails keeps its result."""
        threads = self.execution.executor.threads if len(lengths) == self.folds == 1 else None
        slices = {
            name: self.slices.jobs(self.candidates[name], length, threads)
            for name, length in lengths.items()
        }
        before = dict(self.results)
        self._execute(slices)
        self.results = before | self.results

    def train_for(self, candidate: Candidate, seconds: float) -> Result:
        """Train a candidate alone to its next stage, or for some seconds if it is not reached."""
        name, before = candidate.name, self.results[candidate.name]
        stage = self.standings[name].stage
        while self.slices.seconds_after(stage) <= before.seconds:  # it has trained alone before
            self._enter(name, stage)
            stage += 1
        total = min(self.slices.seconds_after(stage), before.seconds + seconds)
        self.train_up_to({name: timed(candidate, total)})
        if self.results[name] != before and total == self.slices.seconds_after(stage):
            self._enter(name, stage)
            self._save()
        return self.results[name]

    def train_to(self, candidate: Candidate, stage: int) -> Result | None:
        """Train a candidate to a stage, if it has not reached it; return its result."""
        standing = self.standings[candidate.name]
        while standing.stage <= stage and not standing.has_failed:
            self.train([Entry(candidate.name, standing.stage)])
            self._save()
        return self.results.get(candidate.name)

    def _execute(self, slices: Mapping[str, Sequence[Job]]) -> None:
        """Execute slices by candidate; note and log results."""
        outcomes = self.execution.run(list(itertools.chain.from_iterable(slices.values())))
        for name, own in slices.items():
            self._note(name, own, [outcomes[job.name] for job in own])
            if name in self.results:
                self._log(self.results[name])

    def _note(self, name: str, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        """Note the result of a candidate; it has none if one of its runs has failed."""
        runs = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            if outcome.summary is None:
                self._problem = outcome.problem
                self.results.pop(name, None)
                return
            runs.append(FoldRun(job.directory, outcome.summary))
        candidate = self.candidates[name]
        selection = self.pool.networks[candidate.family].config.selection
        self.results[name] = combine(candidate, runs, self.metric, selection=selection)

    # Results.

    def best(self, *, baseline: bool = False) -> Result:
        """Return the best result so far, or the best one of a baseline, if any is left."""
        results = list(self.results.values())
        baselines = [r for r in results if r.candidate.is_baseline] if baseline else []
        return ranked(baselines or results, self.metric[1])[0]

    def augmented(self, result: Result) -> Result:
        """Return a result with more augmentation after equal training, unless this harms."""
        return augmented(self.metric, result, self.equal(result))

    def larger(self, result: Result) -> Result:
        """Return a baseline with fewer epochs that is not significantly worse, or else the result.

        After equal time, a network that needed fewer epochs for the same score is usually larger.
        It is better per epoch, so it is ahead when both have trained for many epochs. This does not
        hold if they then know the training samples by heart, so a result that memorizes them stays
        the same.
        """
        if result.memorizes:
            return result
        baselines = [r for r in self.equal(result) if r.candidate.is_baseline]
        level = [r for r in baselines if not is_better(self.metric, result, r, LEVEL)]
        return min([result, *level], key=lambda each: each.epochs)

    def equal(self, result: Result) -> list[Result]:
        """Return the results after equal training, including the given one."""
        return [r for r in self.results.values() if self.stage(r) == self.stage(result)]

    def stage(self, result: Result) -> int:
        """Return the next stage of a candidate."""
        return self.standings[result.candidate.name].stage

    def _report_round(self) -> None:
        """Print the leader and the next-best candidate, and save the answer so far."""
        first, *others = ranked(self.results.values(), self.metric[1])
        self.console.step(0, leader=self.describe(first))
        second = f", next {self.describe(others[0])}" if others else ""
        used, total = self.stopwatch.seconds, self.stopwatch.total
        self.console.info(
            f"round {self.rounds}: leader {self.describe(first)}{second}; "
            f"{format_duration(used)} of {format_duration(total)} used"
        )
        if "duel" not in self.decisions:  # then the winner is the answer, whatever leads
            write_answer(self.directory, first.directory, first.candidate.architecture)

    def describe(self, result: Result) -> str:
        """Return name, score and training time of a candidate."""
        score = format_value(f"valid_{self.metric[0]}", result.score)
        return f"{result.candidate.name} {score} after {format_duration(result.seconds)}"

    def _log(self, result: Result) -> None:
        """Add the result to ``race.jsonl`` and to TensorBoard's files, which only people read."""
        row: Slice = {
            "time": round(max(self.execution.ended[path] for path in result.directories), 2),
            "candidate": result.candidate.name,
            "score": result.score,
            "seconds": round(result.seconds, 2),
            "epochs": result.epochs,
            "leader": self.best().candidate.name,
        }
        scores = {self.directory: self.best().score, result.directory: result.score}
        is_off = "tracking.tensorboard=false" in self.config.overrides
        log_slice(self.directory, row, self.metric[0], {} if is_off else scores)
