"""The scores of a judge: their file, and their agreement with the true scores."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np

from darts.config import ConfigError, JudgeConfig
from darts.hpo.judge_plan import JudgePlan
from darts.judging.predictor import predict
from darts.judging.rankings import Agreement, Values, agreement, calibrated_weights, combined
from darts.judging.training_free import BASELINES
from darts.reading import MIB, read_json_object
from darts.strategies.judges import TrainingFreeJudge
from darts.typed_values import typed
from darts.writing import write_json

FILE = "scores.json"
LIMIT = 256 * MIB  # bytes


class Row(TypedDict):
    """Scores of one architecture; in the file, None stands for a score that is not finite."""

    genotype: str
    seconds: float
    scores: Mapping[str, float | None]
    calibration: float | None  # score of a short run for the calibration of a judge
    calibration_seconds: float  # of this run; 0 if there was none


class Content(TypedDict):
    """Content of the file."""

    rows: list[Row]
    plan: str  # digest of what is scored, see ``ScoreFile``


@dataclass
class ScoreFile:
    """Scores of architectures, in memory and in a file from which an interrupted command continues.

    Attributes:
        plan: Digest of what is scored. The file of another plan raises ``ConfigError``.
        rows: Rows by genotype, in the order in which they were computed.
    """

    path: Path
    plan: str
    rows: dict[str, Row] = field(default_factory=dict)

    def load(self) -> None:
        """Read the rows of an interrupted command, if it wrote any."""
        if not self.path.exists():
            return
        content = typed(Content, read_json_object(self.path, limit=LIMIT), FILE)
        if content["plan"] != self.plan:
            raise ConfigError(
                "cannot resume: the architectures or their true scores changed after the run "
                "stopped"
            )
        self.rows = {row["genotype"]: row for row in content["rows"]}

    def save(self) -> None:
        """Write all rows atomically."""
        content: Content = {"rows": list(self.rows.values()), "plan": self.plan}
        write_json(self.path, content)


class ScoreAnalysis:
    """Scores of the ``n`` architectures of a plan by a judge, next to the baselines and the truth.

    The architectures whose truth calibrates the judge do not count in the agreement.

    Attributes:
        columns: Scores ``(n,)`` of the judge and the baselines, by name.
        values: What the judge ranks architectures by, ``(n,)``: its score, or the combination of
            its scores. Larger is better.
        deviation: Uncertainty of the values of a predictor, ``(n,)``; None for other judges.
        weights: Weight of each score in the combination; empty for a single score and a predictor.
        seconds: Mean seconds per architecture, without the baselines. The first architecture
            includes the loading of data.
        calibration_seconds: Seconds of all short runs for the calibration.
    """

    def __init__(self, config: JudgeConfig, plan: JudgePlan, scored: ScoreFile) -> None:
        judge, some, self.plan = config.judge, plan.calibrating, plan
        rows = [scored.rows[text] for text in plan.genotypes]
        ranked = judge.ranked_scores(plan.metric.name)
        sign = -1 if judge.absolute and not plan.metric.higher_is_better else 1
        self.columns: dict[str, Values] = {}
        for name in dict.fromkeys((*ranked, *BASELINES)):
            column = np.array([row["scores"][name] for row in rows], dtype=np.float64)
            self.columns[name] = np.where(np.isfinite(column), column, -sign * np.inf)
        own = {name: self.columns[name] for name in ranked}
        self.weights: dict[str, float] = {}
        self.deviation: Values | None = None
        if isinstance(judge, TrainingFreeJudge) and judge.combination == "predictor":
            points = [plan.space.encode(a.genotype) for a in plan.architectures]
            truth = calibration_truth(plan, rows)
            self.values, self.deviation = predict(
                plan.space.parameters(), points, own, truth, some, seed=config.seed
            )
        elif len(ranked) == 1 and not some.any():
            self.values = sign * own[ranked[0]]
        else:
            self.weights = dict.fromkeys(ranked, 1.0)
            if some.any():
                truth = calibration_truth(plan, rows)[some]
                found = calibrated_weights({n: column[some] for n, column in own.items()}, truth)
                if any(found.values()):
                    self.weights = found
                else:
                    warnings.warn(
                        "the calibration found no correlation, so all scores weigh the same; "
                        "calibrate with more architectures or longer runs",
                        stacklevel=2,
                    )
            self.values = combined(own, self.weights)
        self.seconds = float(np.mean([row["seconds"] for row in rows]))
        self.calibration_seconds = sum(row["calibration_seconds"] for row in rows)

    def agreements(self) -> dict[str, Agreement]:
        """Return the agreement with the truth of the judge, its scores and the baselines.

        It is empty if the truth is unknown. If the judge has a single score, for example a loss,
        the agreement of this score equals the agreement of the judge, so its sign is the same.
        """
        truth, counted = self.plan.truth(), ~self.plan.calibrating
        if truth is None:
            return {}
        shown = {"judge": self.values, **self.columns}
        if not self.weights and self.deviation is None:
            shown[next(iter(self.columns))] = self.values
        return {name: agreement(v[counted], truth[counted]) for name, v in shown.items()}

    def summary(self) -> dict[str, object]:
        """Return the entries of ``summary.json``."""
        result: dict[str, object] = {
            "architectures": len(self.plan.architectures),
            "calibration": int(self.plan.calibrating.sum()),
            "seconds_per_architecture": self.seconds,
            "calibration_seconds": self.calibration_seconds,
        }
        for name, found in self.agreements().items():
            prefix = "" if name == "judge" else f"{name}_"
            result |= {f"{prefix}{key}": value for key, value in vars(found).items()}
        return result | {f"weight_{name}": weight for name, weight in self.weights.items()}

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of ``scores.csv``, the best architecture first."""
        columns = {"judge": self.values, **self.columns}
        if self.deviation is not None:
            columns["deviation"] = self.deviation
        if (truth := self.plan.truth()) is not None:
            columns["truth"] = truth
        order, genotypes = np.argsort(-self.values, kind="stable"), self.plan.genotypes
        return [
            {"rank": rank, **{name: float(column[index]) for name, column in columns.items()}}
            | {"genotype": genotypes[index]}
            for rank, index in enumerate(order, 1)
        ]


def calibration_truth(plan: JudgePlan, rows: Sequence[Row]) -> Values:
    """Return the truth ``(n,)``, larger is better, of the architectures for the calibration.

    If the truth of all architectures is known, return it. Otherwise the score of a short run takes
    its place, or minus infinity if the run diverged. The entries of architectures that are not for
    the calibration then have no meaning.
    """
    truth = plan.truth()
    if truth is not None:
        return truth
    scores = np.array([row["calibration"] for row in rows], dtype=np.float64)
    return np.where(np.isnan(scores), -np.inf, scores if plan.metric.higher_is_better else -scores)
