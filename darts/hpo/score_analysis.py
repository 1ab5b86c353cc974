"""The ranking of architectures by a judge, and its agreement with their true scores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darts.config import JudgeConfig
from darts.hpo.judge_plan import JudgePlan
from darts.hpo.score_file import Row, ScoreFile
from darts.judging.predictor import predict
from darts.judging.rankings import Agreement, Values, agreement, calibrated_weights, combined
from darts.judging.training_free import BASELINES
from darts.strategies.judges import TrainingFreeJudge


@dataclass(frozen=True)
class ScoreAnalysis:
    """Scores of ``n`` architectures by a judge, next to the baselines and the truth.

    Attributes:
        genotypes: Architectures as text.
        columns: Scores ``(n,)`` by name: those of the judge and the baselines.
        values: What the judge ranks architectures by, ``(n,)``: its score, or the combination of
            its scores. Larger is better.
        deviation: Uncertainty of the values of a predictor, ``(n,)``; None for other judges.
        weights: Weight of each score in the combination; empty for a single score and a predictor.
        truth: True scores ``(n,)``; None if unknown.
        calibrating: Architectures whose truth gave the weights, ``(n,)`` bool; the agreement is
            that of the others.
        seconds: Mean seconds per architecture, without the baselines. The first architecture
            includes the loading of data.
        calibration_seconds: Seconds of all short trainings for the calibration.
    """

    genotypes: tuple[str, ...]
    columns: dict[str, Values]
    values: Values
    deviation: Values | None
    weights: dict[str, float]
    truth: Values | None
    calibrating: np.ndarray
    seconds: float
    calibration_seconds: float

    @classmethod
    def make(cls, config: JudgeConfig, plan: JudgePlan, scored: ScoreFile) -> ScoreAnalysis:
        """Combine the scores of all architectures of a plan."""
        genotypes, judge = plan.genotypes, config.judge
        ranked = judge.ranked_scores(plan.metric)
        names = dict.fromkeys((*ranked, *BASELINES))
        columns = {n: np.array([scored.score(text, n) for text in genotypes]) for n in names}
        own = {name: columns[name] for name in ranked}
        rows = [scored.rows[text] for text in genotypes]
        calibrating = plan.calibrating
        weights: dict[str, float] = {}
        deviation = None
        if isinstance(judge, TrainingFreeJudge) and judge.combination == "predictor":
            points = [plan.space.encode(a.genotype) for a in plan.architectures]
            truth = calibration_truth(plan, rows)
            values, deviation = predict(
                plan.space.parameters(), points, own, truth, calibrating, seed=config.seed
            )
        elif len(ranked) == 1 and not calibrating.any():
            values = columns[ranked[0]]
            if judge.absolute and not plan.higher_is_better:
                columns[ranked[0]] = np.where(np.isfinite(values), values, np.inf)
                values = -columns[ranked[0]]
        else:
            weights = dict.fromkeys(ranked, 1.0)
            if calibrating.any():
                some = {name: column[calibrating] for name, column in own.items()}
                found = calibrated_weights(some, calibration_truth(plan, rows)[calibrating])
                if any(found.values()):
                    weights = found
                else:
                    warnings.warn(
                        "the calibration found no correlation, so all scores weigh the same; "
                        "calibrate with more architectures or longer trainings",
                        stacklevel=2,
                    )
            values = combined(own, weights)
        return cls(
            genotypes=tuple(genotypes),
            columns=columns,
            values=values,
            deviation=deviation,
            weights=weights,
            truth=plan.truth(),
            calibrating=calibrating,
            seconds=float(np.mean([row["seconds"] for row in rows])),
            calibration_seconds=sum(t["seconds"] for row in rows if (t := row["training"])),
        )

    def agreements(self) -> dict[str, Agreement]:
        """Return the agreement with the truth of the judge, its scores and the baselines.

        It is empty if the truth is unknown. If the judge has a single score, for example a loss,
        the agreement of this score equals that of the judge, so its sign is the same.
        """
        if self.truth is None:
            return {}
        counted = ~self.calibrating
        shown = {"judge": self.values, **self.columns}
        if not self.weights and self.deviation is None:
            shown[next(iter(self.columns))] = self.values
        return {name: agreement(v[counted], self.truth[counted]) for name, v in shown.items()}

    def summary(self) -> dict[str, object]:
        """Return the entries of ``summary.json``."""
        result: dict[str, object] = {
            "architectures": len(self.genotypes),
            "calibration": int(self.calibrating.sum()),
            "seconds_per_architecture": self.seconds,
            "calibration_seconds": self.calibration_seconds,
        }
        for name, found in self.agreements().items():
            prefix = "" if name == "judge" else f"{name}_"
            result[f"{prefix}spearman"] = found.spearman
            result[f"{prefix}kendall"] = found.kendall
            result[f"{prefix}top_recall"] = found.top_recall
        result.update({f"weight_{name}": weight for name, weight in self.weights.items()})
        return result

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of ``scores.csv``, the best architecture first."""
        columns = {"judge": self.values, **self.columns}
        if self.deviation is not None:
            columns["deviation"] = self.deviation
        if self.truth is not None:
            columns["truth"] = self.truth
        order = np.argsort(-self.values, kind="stable")
        return [
            {"rank": rank, **{name: float(column[index]) for name, column in columns.items()}}
            | {"genotype": self.genotypes[index]}
            for rank, index in enumerate(order, 1)
        ]


def calibration_truth(plan: JudgePlan, rows: Sequence[Row]) -> Values:
    """Return the truth ``(n,)``, larger is better, of the architectures for the calibration.

    If the truth of all architectures is known, return it. Otherwise the score of a short training
    takes its place, or minus infinity if the training diverged. The entries of architectures that
    are not for the calibration then have no meaning.
    """
    truth = plan.truth()
    if truth is not None:
        return truth
    sign = 1 if plan.higher_is_better else -1
    scores = [None if row["training"] is None else row["training"]["score"] for row in rows]
    return np.array([-np.inf if score is None else sign * score for score in scores])
