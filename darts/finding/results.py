"""Results of the trainings of ``darts.find``, and their order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from darts.finding.candidates import Candidate
from darts.reading import FileError, JsonObject
from darts.tasks.metrics import Metric
from darts.tracking.ledger import sum_costs
from darts.tracking.metrics import read_metrics


@dataclass(frozen=True)
class FoldTraining:
    """A complete training of a candidate with one of the parts of the samples held out.

    Attributes:
        directory: Run directory.
        summary: Content of its ``summary.json``.
    """

    directory: Path
    summary: JsonObject


@dataclass(frozen=True)
class Result:
    """A complete training of a candidate, or one for each part of the samples that is held out.

    Attributes:
        candidate: The candidate.
        epochs: Length of the training.
        directory: Run directory of the training with the final weights.
        summary: Content of its ``summary.json``; with several parts, scores and seconds are means.
        score: Steering metric on validation data; nan for a training without validation data.
        refit_epochs: Length of the repeated training on training and validation data, if there is
            one; ``directory`` is then its directory.
        folds: The trainings, if there are several.
    """

    candidate: Candidate
    epochs: int
    directory: Path
    summary: JsonObject
    score: float
    refit_epochs: int | None = None
    folds: tuple[FoldTraining, ...] = ()

    @property
    def run(self) -> str:
        """Name of the training."""
        return run_name(self.candidate, self.epochs)

    @property
    def loss(self) -> float:
        """Validation loss; infinite if it is unknown."""
        value = self.summary.get("valid_loss")
        return float(value) if isinstance(value, int | float) else math.inf

    @property
    def seconds_per_epoch(self) -> float:
        """Wall-clock seconds per epoch of one training, including the start of the run."""
        return float(self.summary["seconds"]) / self.epochs

    @property
    def directories(self) -> list[Path]:
        """The run directories of all trainings."""
        return [fold.directory for fold in self.folds] or [self.directory]

    @property
    def summaries(self) -> list[JsonObject]:
        """The summaries of all trainings."""
        return [fold.summary for fold in self.folds] or [self.summary]

    def row(self, metric: str) -> dict[str, object]:
        """Return the row in ``candidates.csv``; its directory is that of the first training."""
        return {
            "candidate": self.candidate.name,
            "origin": self.candidate.origin,
            "family": self.candidate.family,
            "setting": self.candidate.setting.name,
            "epochs": self.epochs,
            f"valid_{metric}": _finite(self.score),
            "valid_loss": _finite(self.loss),
            **{name: self.summary.get(name) for name in ("parameters", "macs")},
            "seconds": sum(float(summary["seconds"]) for summary in self.summaries),
            "joules": sum_costs(self.summaries)["joules"],
            "trainings": len(self.summaries),
            "directory": self.directory.name,
            "genotype": self.candidate.genotype,
        }


def run_name(candidate: Candidate, epochs: int) -> str:
    """Return the name of a training."""
    return f"{candidate.name}.{candidate.setting.name}.{epochs}"


def costs_of_a_failed_run(directory: Path) -> list[JsonObject]:
    """Return the last row of ``metrics.jsonl`` with costs, as a list of at most one row.

    Its costs are those of all complete epochs. The list is empty if the run failed in its first
    epoch, or if its file is damaged.
    """
    try:
        rows = read_metrics(directory / "metrics.jsonl")
    except (OSError, FileError):
        return []
    return [row for row in rows if "joules" in row][-1:]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def ranked(results: Iterable[Result], metric: Metric) -> list[Result]:
    """Sort results, the best first: by score, then by validation loss, then by size.

    On small validation sets, several networks often have the same score but different losses.
    """

    def key(result: Result) -> tuple[float, float, float]:
        score = -result.score if metric.higher_is_better else result.score
        parameters = float(result.summary.get("parameters") or 0)
        loss = math.inf if math.isnan(result.loss) else result.loss
        return (math.inf if math.isnan(score) else score, loss, parameters)

    return sorted(results, key=key)


def best_of(results: Sequence[Result], metric: Metric, *, baseline: bool) -> Result | None:
    """Return the best result of the baselines, or of the others; None if there is none."""
    chosen = [r for r in results if r.candidate.is_baseline == baseline]
    return ranked(chosen, metric)[0] if chosen else None
