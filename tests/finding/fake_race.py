"""A race of ``darts.find`` whose runs train nothing, on a clock that only they advance."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from darts.config import FindConfig, compose
from darts.finding.candidates import Networks
from darts.finding.decisions import Decisions
from darts.finding.execution import Execution, Stopwatch
from darts.finding.proposals import Pool
from darts.finding.race import EXPLORED, Race
from darts.finding.setup import make_networks
from darts.recipes.rules import DataFacts
from darts.running.jobs import Executor, Future, Job, Outcome
from darts.tasks.metrics import CLASSIFICATION_METRICS
from darts.training.interrupt import Interrupted

DATA = ("dataset=synthetic", "dataset.samples=32", "dataset.size=8", "device=cpu", "space=mlp")
DATA += ("space.widths=[64,128,256]", "space.cells=2", "optimizer.warmup_epochs=2")
SHORT = ("plan.equal=epochs", "plan.slice_epochs=1", "plan.rounds=2", "plan.newcomers=2")
BASELINES = ["mlp-mlp_128", "mlp-linear", "mlp-mlp_256x2", "mlp-largest"]
LEADER = BASELINES[3]


class Crash(BaseException):
    """The process ends."""


@dataclass
class FakeExecutor(Executor):
    """Runs that train one epoch per second.

    Attributes:
        now: The time in seconds.
        scores: Score of a run after some epochs; by default, it depends on name and epochs.
        trained: Accuracy of a run on the training samples.
        peaks: The best epoch of runs that overfit, by name.
        failing: Names of runs that fail.
        crash_after: Number of events after which the process ends: begins and middles of runs,
            and begins and ends of writes of decisions.
        signal_at: Number of the run before which a signal arrives.
        ended: Name and epochs of each run that has ended, in their order.
    """

    workers: int = 1
    threads: int = 4
    scores: Callable[[str, int], float] = lambda name, epochs: (
        zlib.crc32(name.encode()) / 2**32 * (1 - 0.5**epochs)
    )
    peaks: Mapping[str, int] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()
    trained: Callable[[str], float] = lambda name: 1.0
    crash_after: int = -1
    signal_at: int = -1
    now: float = 0.0
    ended: list[tuple[str, int]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    received: int | None = None

    def event(self) -> None:
        if self.crash_after == 0:
            raise Crash
        self.crash_after -= 1

    def submit(self, job: Job) -> Future:
        self.event()
        if self.received is not None:
            raise Interrupted(128 + self.received)
        self.jobs.append(job)
        if len(self.jobs) == self.signal_at:
            self.received = 15
        future = Future(job)
        if job.name in self.failing:
            future.set_result(Outcome(None, "optimizer.lr=9: too high"))
            return future
        limits = dict(item.split("=", 1) for item in (*job.overrides, *job.changes))
        ends = (float(limits.get(key, "inf")) for key in ("epochs", "max_seconds"))
        longest = min(*ends, 10.0**6)
        file, target = job.directory / "summary.json", job.directory / "target"
        if target.exists():  # as saved in the checkpoint of a run that was interrupted
            is_open = longest == 10.0**6  # continued without a new target
            longest = int(target.read_text()) if is_open else max(longest, int(target.read_text()))
        longest = int(longest)
        before = json.loads(file.read_text())["epochs"] if file.exists() else 0
        if before < longest:
            job.directory.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            target.write_text(str(longest))
            self.event()
            self.now += longest - before
            self._write(job, longest)
            self.ended.append((job.name, longest))
        future.set_result(Outcome(json.loads(file.read_text())))
        return future

    def _write(self, job: Job, epochs: int) -> None:
        best = min(self.peaks.get(job.name, epochs), epochs)
        score = self.scores(job.name, best)
        summary = {"epochs": epochs, "epoch": best, "seconds": float(epochs), "valid_loss": 1.0}
        summary |= {"valid_accuracy": score, "parameters": 10, "macs": 20}
        for name in ("checkpoint.safetensors", "split.npz"):
            (job.directory / name).write_text(f"{job.name} {epochs}")
        peak = self.peaks.get(job.name, epochs)
        rows = [
            {
                "epoch": epoch,
                "valid_accuracy": self.scores(job.name, min(epoch, peak)),
                "train_accuracy": self.trained(job.name),
            }
            for epoch in range(1, epochs + 1)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (job.directory / "metrics.jsonl").write_text(text)
        (job.directory / "summary.json").write_text(json.dumps(summary))


class WatchedDecisions(Decisions):
    """Decisions whose writes are events of an executor."""

    def __init__(self, file: Path, executor: FakeExecutor) -> None:
        super().__init__(file)
        self._executor = executor

    def record(self, name: str, value: object) -> None:
        is_time = name == "seconds"  # the same state as after the run that took it
        if not is_time:
            self._executor.event()
        super().record(name, value)
        if not is_time:
            self._executor.event()


@functools.cache
def networks_of(words: tuple[str, ...]) -> tuple[FindConfig, DataFacts, dict[str, Networks]]:
    config: FindConfig = compose("find", list(words))
    return config, *make_networks(config)


def make_race(
    folder: Path,
    *words: str,
    executor: FakeExecutor | None = None,
    total: float = 640.0,
    folds: int = 1,
) -> Race:
    """Return a race with a budget of ``total`` seconds; its executor has the clock."""
    executor = FakeExecutor() if executor is None else executor
    folder.mkdir(exist_ok=True)
    config, facts, networks = networks_of((*DATA, *words))
    decisions = WatchedDecisions(folder / "decisions.json", executor)
    messages: list[str] = []
    console: Any = SimpleNamespace(
        info=messages.append,
        warn=messages.append,
        step=lambda seconds, **fields: None,
        status=lambda text: None,
        messages=messages,
    )
    return Race(
        folder,
        Pool(config, networks, facts),
        ("accuracy", CLASSIFICATION_METRICS["accuracy"]),
        Execution(
            executor,
            console,
            executor,  # type: ignore[arg-type]  # it also knows whether a signal has arrived
            Stopwatch(total, decisions, clock=lambda: executor.now),
        ),
        decisions,
        folds,
    )


def explored(folder: Path, *words: str, **options: Any) -> tuple[Race, FakeExecutor]:
    """Return a race after its last round."""
    executor = FakeExecutor(**options)
    race = make_race(folder, *words, executor=executor)
    race.explore(race.share(EXPLORED))
    return race, executor
