"""The slices in which candidates train: their lengths and their jobs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darts.config import quoted
from darts.finding.candidates import Candidate, Start
from darts.finding.decisions import Decisions
from darts.finding.proposals import Pool
from darts.finding.results import Result
from darts.recipes.commands import merge_overrides
from darts.running.jobs import Job
from darts.writing import write_atomically

ENDLESS = 100_000  # epochs of a run that time ends

# Share of the budget that the first slice of a candidate takes at most.
#
# In the replay, 0.05 and 0.2 are 0.1 points worse with the longest budget, and 0.02 is 0.3 worse.
LONGEST = 0.1

# Ratio of the training after a stage to the training before it. A change of a network that has
# trained for a while is visible long before the training has doubled, so more changes fit in.
GROWTH = math.sqrt(2)


@dataclass(frozen=True)
class Slices:
    """The training runs of candidates, in slices.

    After stage k, a candidate has trained for ``GROWTH**k`` times as long as in stage 0; if slices
    have equal epochs, for ``2**k`` times as long.

    Attributes:
        directory: Run directory; its folder ``runs`` has the run directories of the candidates.
        pool: Where candidates come from.
        decisions: Saves the length of the first slice.
        folds: Number of runs of each candidate, see ``darts.finding.folds``.
    """

    directory: Path
    pool: Pool
    decisions: Decisions
    folds: int

    def seconds(self, stage: int) -> float:
        """Return the additional seconds of a stage."""
        return self.seconds_after(stage) - (self.seconds_after(stage - 1) if stage else 0.0)

    def seconds_after(self, stage: int) -> float:
        """Return the seconds of training after a stage."""
        return self.decisions.decide("slice_seconds", float, float) * GROWTH**stage

    def length(self, candidate: Candidate, stage: int) -> tuple[str, ...]:
        """Return the overrides that end a run after a stage."""
        if self.pool.config.plan.equal == "epochs":
            return counted(candidate, self.pool.config.plan.slice_epochs * 2**stage)
        return timed(candidate, self.seconds_after(stage))

    def jobs(
        self, candidate: Candidate, length: Sequence[str] = (), threads: int | None = None
    ) -> list[Job]:
        """Return the jobs that train a candidate up to a length, one for each held-out part."""
        networks = self.pool.networks[candidate.family]
        overrides = networks.overrides(candidate.genotype, candidate.setting.values)
        if self.pool.config.plan.equal == "epochs":
            threads = 1  # with other numbers, sums are rounded in another way
        jobs = []
        for part in range(self.folds):
            fold = (f"validation_fold={part}",) if self.folds > 1 else ()
            suffix = f".fold{part}" if fold else ""
            saved = self._saved_start(candidate.start.parent + suffix, candidate.start)
            start = continued(saved) if candidate.start.parent else ()
            best = ("start_epoch=best",) if candidate.start.best else ()
            words = tuple(merge_overrides([*overrides, *fold, *start, *best, *length]))
            folder = self.directory / "runs" / f"{candidate.name}{suffix}"
            jobs.append(Job(folder.name, "retrain", folder, words, tuple(length), threads))
        return jobs

    def start(self, result: Result, stage: int) -> Start:
        """Return the training of a candidate before its next stage, which others can continue.

        If more training did not help, they continue its best epoch.
        """
        name = result.candidate.name
        if not result.is_exhausted:
            return Start(name, stage, result.seconds, result.epochs)
        plan, epochs = self.pool.config.plan, result.best_epoch
        seconds = result.seconds * epochs / result.epochs
        is_timed = plan.equal == "time"
        slices = seconds / self.seconds_after(0) if is_timed else epochs / plan.slice_epochs
        stage = math.floor(math.log(slices, GROWTH if is_timed else 2) + 1e-9) + 1
        return Start(name, max(stage, 0), seconds, epochs, best=True)

    def save_start(self, result: Result, start: Start) -> None:
        """Save the training of a candidate, so that others can continue it."""
        for directory in result.directories:
            target = self._saved_start(directory.name, start)
            write_atomically(target, (directory / "checkpoint.safetensors").read_bytes())

    def _saved_start(self, run: str, start: Start) -> Path:
        return self.directory / "starts" / f"{run}-{start.epochs}.safetensors"


def continued(path: Path) -> tuple[str, ...]:
    """Return the overrides of a run that continues the training in a run directory or checkpoint.

    The rate does not rise again.
    """
    return f"start={quoted(str(path.resolve()))}", "optimizer.warmup_epochs=0"


def timed(candidate: Candidate, seconds: float) -> tuple[str, str]:
    """Return the overrides that end the run of a candidate after seconds of training."""
    return f"epochs={ENDLESS}", f"max_seconds={seconds - candidate.start.seconds:.2f}"


def counted(candidate: Candidate, epochs: int) -> tuple[str]:
    """Return the overrides that end the run of a candidate after epochs of training."""
    return (f"epochs={max(epochs - candidate.start.epochs, 1)}",)
