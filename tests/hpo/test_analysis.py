"""The analysis of a study, compared with independent computations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from darts.hpo.analysis import analyze
from darts.hpo.search_space import FactorialDesign, SearchSpace
from darts.hpo.study import StudyPlan
from darts.hpo.supervisor import Supervisor
from darts.hpo.trials import counted_trials
from darts.judging import nas201_table

TABLE = ("experiment=nas201_table", "strategy=random", "tracking.figures=false")
DEFAULT_GENOTYPE = '{"space": "mlp", "layers": ["relu_8"]}'


def run_study(plan: StudyPlan) -> optuna.Study:
    study = plan.open()
    Supervisor(plan, study, lambda trial: None).run()
    return study


def noisy_table(table: Path, folder: Path) -> Path:
    """Write the synthetic table with noise in the validation accuracies."""
    lines = table.read_text().splitlines()
    draw = np.random.default_rng(0)
    rows = [line.split(",") for line in lines[1:]]
    rows = [[arch, f"{float(valid) + draw.normal(0, 4):.4f}", test] for arch, valid, test in rows]
    path = folder / "noisy.csv"
    path.write_text("\n".join([lines[0], *(",".join(row) for row in rows)]) + "\n")
    return path


@pytest.mark.slow
def test_rank_correlation_of_scores_and_true_accuracies(
    planned: Callable[..., StudyPlan], table: Path, tmp_path: Path
) -> None:
    path = noisy_table(table, tmp_path)
    plan = planned(*TABLE, f"benchmark.table={path}", "budget.trials=15")
    study = run_study(plan)
    found = analyze(plan, study)
    trials = counted_trials(study.trials)
    truth = nas201_table.load(path)
    archs = [plan.space.genotype(trial.params) for trial in trials]
    valid = np.array([truth.accuracy(arch, split="val", epochs=12) for arch in archs])
    test = np.array([truth.accuracy(arch) for arch in archs])
    # Ranks; ties share their mean rank.
    ranks = [[(own < w).sum() + (own <= w).sum() for w in own] for own in (valid, test)]
    assert found["rank_correlation_spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    one, other = (np.sign(own[:, None] - own[None]) for own in (valid, test))
    tau = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert found["rank_correlation_kendall"] == pytest.approx(tau)
    assert 0 < found["rank_correlation_spearman"] < 0.99
    best = archs[int(valid.argmax())]
    assert found["true_accuracy"] == pytest.approx(truth.accuracy(best) / 100)
    assert found["true_rank"] == 1 + sum(truth.column() > truth.accuracy(best))
    assert found["architectures"] == 15625
    assert found["share_architecture"] == pytest.approx(1)


class KnownGainsJudge:
    """A judge with known gains: architecture 1, learning rate 0.25, interaction of both 0.5."""

    name = "train"
    trains = True
    needs_genotype = False

    def __call__(self, trial: Any, tools: Any) -> dict[str, Any]:
        given = dict(o.split("=", 1) for o in trial.overrides)
        best_architecture = float("relu_8" not in given["genotype"])
        best_rate = float("optimizer.lr" in given)
        seed = int(given["seed"])
        noise = 0.01 * seed + 0.001 * seed**2 * best_architecture
        score = best_architecture + 0.25 * best_rate + 0.5 * best_architecture * best_rate + noise
        return {"valid_accuracy": score, "valid_loss": -score}


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_the_factorial_design_measures_the_gains(
    planned: Callable[..., StudyPlan], metric: str
) -> None:
    plan = planned(
        "dataset=synthetic",
        "dataset.samples=48",
        "space=mlp",
        f"genotype={DEFAULT_GENOTYPE}",
        "parameters.genotype={space: mlp, cells: 1, widths: [16], activations: [tanh]}",
        "parameters.optimizer.lr=[0.5]",
        *(
            "workers=0",
            "budget.trials=1",
            "analysis.factorial_seeds=3",
            "analysis.retrain_best=false",
        ),
        "tracking.figures=false",
        f"metric={metric}",
        "seed=4",
    )
    plan.config.judge = KnownGainsJudge()  # type: ignore[assignment]
    found = analyze(plan, run_study(plan))
    seeds = [5, 6, 7]  # not the seed of the search
    noise = np.mean([0.001 * seed**2 for seed in seeds])
    assert found["gain_architecture"] == pytest.approx(1 + noise)
    assert found["gain_hyperparameters"] == pytest.approx(0.25)
    assert found["gain_both"] == pytest.approx(1.75 + noise)
    assert found["gain_interaction"] == pytest.approx(0.5)
    assert found["gain_both_count"] == 3
    sign = 1 if metric == "accuracy" else -1
    assert found["score_default_default"] == pytest.approx(sign * np.mean([0.05, 0.06, 0.07]))
    # A second analysis reuses the finished trainings.
    again = analyze(plan, plan.open())
    assert again == found


def test_a_design_of_one_factor_has_half_the_corners() -> None:
    space = SearchSpace({"epochs": {"low": 1, "high": 9}})
    design = FactorialDesign(space, {"epochs": 7}, range(3, 5))
    assert design.factors == ["hyperparameters"]
    found = [design.overrides(point) for point in design.parameters.points(2)]
    assert found == [["seed=3"], ["epochs=7", "seed=3"], ["seed=4"], ["epochs=7", "seed=4"]]


def test_corners_override_only_the_best_factors() -> None:
    space = SearchSpace({"genotype": {"space": "nas201"}, "optimizer.lr": [0.1, 0.2]})
    best = {p.name: p.domain.grid(2)[-1] for p in space.parameters}
    design = FactorialDesign(space, best, range(1))
    overrides = {
        (point["architecture"], point["hyperparameters"]): design.overrides(point)
        for point in design.parameters.points(2)
    }
    genotype = f"genotype='{space.genotype(best)}'"
    assert overrides == {
        ("default", "default"): ["seed=0"],
        ("best", "default"): ["space=nas201", genotype, "seed=0"],
        ("default", "best"): ["optimizer.lr=0.2", "seed=0"],
        ("best", "best"): ["space=nas201", genotype, "optimizer.lr=0.2", "seed=0"],
    }
