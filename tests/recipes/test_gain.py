"""The gain of a found network over a baseline: scores, pairing, and the metrics of all tasks."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from slow_cases import slow_except
from tiny_tasks import CASES

from darts import evaluate
from darts.config import launch
from darts.recipes import gain as gains
from darts.recipes import retrain
from darts.recipes.gain import measure_gain, validation_interval
from darts.tasks import TASKS

FAST = ("tracking.tensorboard=false", "tracking.figures=false", "evaluate_test=false", "epochs=1")
MLP = ("dataset=synthetic", "dataset.samples=64", "space=mlp")


def trained(directory: Path, *overrides: str) -> Path:
    """Retrain a tiny network without scoring the test split; return its run directory."""
    arguments = [*FAST, *overrides, f"hydra.run.dir={directory}"]
    summary = launch("retrain", retrain.check, retrain.retrain, arguments)
    assert not [key for key in summary if key.startswith("test_")]
    return directory


def mlp(units: int) -> str:
    return f'genotype={{"space": "mlp", "layers": ["relu_{units}"]}}'


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wide network that is trained for some epochs, and a narrow one."""
    folder = tmp_path_factory.mktemp("runs")
    wide = trained(folder / "wide", *MLP, mlp(64), "epochs=8", "optimizer.lr=0.05")
    return wide, trained(folder / "narrow", *MLP, mlp(4), "optimizer.lr=0.01")


def test_a_better_network_has_a_positive_gain_and_interval(runs: tuple[Path, Path]) -> None:
    gain = measure_gain(*runs, metric="accuracy", device="cpu")
    assert gain.difference == gain.found["accuracy"] - gain.baseline["accuracy"] > 0.3
    assert 0 < gain.low < gain.difference < gain.high < 1
    assert gain.samples == 128


@pytest.mark.parametrize("metric", ["accuracy", pytest.param("loss", marks=pytest.mark.slow)])
def test_the_interval_of_several_runs_pools_their_samples(metric: str, tmp_path: Path) -> None:
    folds = range(3)
    wide, narrow = (
        [
            trained(
                tmp_path / f"{units}-{fold}", *MLP, mlp(units), *options, "validation=0.3",
                f"validation_fold={fold}", "seed=1",
            )
            for fold in folds
        ]
        for units, options in ((64, ["epochs=8", "optimizer.lr=0.05"]), (4, ["epochs=1"]))
    )  # fmt: skip
    samples = np.concatenate([np.load(run / "split.npz")["valid"] for run in wide])
    assert len(samples) == len(set(samples)) > 50
    bounds = validation_interval(wide, narrow, metric=metric, level=0.9)
    assert 0 < bounds[0] < bounds[1]
    single = validation_interval(wide[:1], narrow[:1], metric=metric, level=0.9)
    assert bounds[1] - bounds[0] < single[1] - single[0]  # three times as many samples
    swapped = validation_interval(narrow, wide, metric=metric, level=0.9)
    assert (-swapped[1], -swapped[0]) == pytest.approx(bounds, rel=0.2)


def test_the_same_run_has_a_difference_of_zero(runs: tuple[Path, Path]) -> None:
    gain = measure_gain(runs[1], runs[1] / "checkpoint.safetensors", metric="loss", device="cpu")
    assert (gain.difference, gain.low, gain.high) == (0.0, 0.0, 0.0)
    assert gain.found == gain.baseline


def test_a_split_is_scored_once(runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    scored = Mock(wraps=gains.evaluate)
    monkeypatch.setattr(gains, "evaluate", scored)
    measure_gain(*runs, metric="accuracy", device="cpu")
    assert scored.call_count == 2
    measure_gain(runs[0], runs[0], metric="accuracy", device="cpu")
    assert scored.call_count == 3


# All tasks.


@pytest.mark.parametrize("name", slow_except(CASES, ("table", "language_model")))
def test_each_task_has_intervals_of_all_its_metrics(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    overrides = [*case.data(tmp_path / "data"), *case.retrain, f"genotype={case.genotype}"]
    overrides += ["loader.batch_size=8"]
    found = trained(tmp_path / "found", *overrides, "epochs=3")
    # Another window and another batch size must not change which samples are paired.
    window = ["task.window=5"] if name == "language_model" else []
    more = [*window, "loader.eval_batch_size=7", "epochs=1"]
    baseline = trained(tmp_path / "baseline", *overrides, *more)
    arguments = [f"checkpoint={found}", f"hydra.run.dir={tmp_path / 'evaluate'}"]
    summary = launch("evaluate", evaluate.check, evaluate.evaluate, arguments)
    expected = {k[5:]: value for k, value in summary.items() if k.startswith("test_")}
    task = next((word[5:] for word in overrides if word.startswith("task=")), "classification")
    for metric, direction in TASKS[task].metrics.items():
        if metric not in expected:  # needs more classes
            continue
        gain = measure_gain(found, baseline, metric=metric, device="cpu")
        assert gain.found == expected
        sign = 1 if direction.higher_is_better else -1
        assert gain.difference == sign * (gain.found[metric] - gain.baseline[metric])
        assert gain.low <= gain.difference <= gain.high
