"""``python -m darts.evaluate``: its scores, its files and its errors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from darts import evaluate
from darts.spaces import Genotype
from darts.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def evaluation(retrain_run: Any, commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An evaluation with the command that the retraining printed."""
    arguments = commands.printed_arguments(retrain_run.out, "evaluate")
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    return commands.call("evaluate", [*arguments, f"hydra.run.dir={folder}"], folder)


def test_an_evaluation_repeats_the_test_scores_of_the_retraining(
    evaluation: Any, retrain_run: Any
) -> None:
    scores = {k: v for k, v in retrain_run.result.items() if k.startswith("test_")}
    assert scores
    assert {k: evaluation.result[k] for k in scores} == scores
    for key in ("epoch", "genotype", "seed", "metric", "name"):
        assert evaluation.result[key] == retrain_run.result[key]
    assert evaluation.result["samples"] == 128


def test_the_run_directory_contains_all_files(evaluation: Any) -> None:
    present = {file.name for file in evaluation.directory.iterdir()}
    assert {"config.yaml", "genotype.json", "summary.json", "env.json", "confusion.svg"} <= present
    summary = evaluation.json("summary.json")
    assert summary == evaluation.result
    assert not [key for key, value in summary.items() if isinstance(value, (dict, list))]
    assert {"seconds", "joules", "joules_source", "git_revision", "device"} <= summary.keys()
    text = (evaluation.directory / "genotype.json").read_text(encoding="utf-8")
    assert str(Genotype.parse(text)) == summary["genotype"]
    assert f"{100 * summary['test_accuracy']:.2f}" in evaluation.out


def test_a_file_batch_size_and_precision_can_be_chosen(
    retrain_run: Any, commands: Any, tmp_path: Path
) -> None:
    file = retrain_run.directory / "checkpoint.safetensors"
    arguments = [f"checkpoint={file}", "batch_size=7", "precision=bf16"]
    done = commands.call("evaluate", [*arguments, f"hydra.run.dir={tmp_path / 'run'}"])
    assert abs(done.result["test_accuracy"] - retrain_run.result["test_accuracy"]) < 0.1
    assert done.result["samples"] == 128


def test_validation_data_need_the_split_file_which_is_read_before_the_data(
    retrain_run: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: Any) -> None:
        raise AssertionError("the data was read")

    file = tmp_path / "weights.safetensors"
    shutil.copy(retrain_run.directory / "checkpoint.safetensors", file)
    done = commands.run("evaluate", tmp_path / "test", f"checkpoint={file}")
    assert done.result["test_accuracy"] == retrain_run.result["test_accuracy"]
    monkeypatch.setattr(evaluate, "open_data", unexpected)
    for option in ("split=valid", "importance=true"):
        assert "split.npz" in commands.error_of("evaluate", f"checkpoint={file}", option)


def test_edge_importances_are_score_drops_on_validation_data(
    retrain_run: Any, importance_run: Any
) -> None:
    scores = {k: v for k, v in retrain_run.result.items() if k.startswith("valid_")}
    assert {k: importance_run.result[k] for k in scores} == scores
    assert importance_run.result["samples"] == 10
    assert not [key for key in importance_run.result if key.startswith("test")]
    importance = importance_run.json("importance.json")
    assert (importance["metric"], importance["split"]) == ("accuracy", "valid")
    assert importance["score"] == scores["valid_accuracy"]
    genotype = Genotype.parse((importance_run.directory / "genotype.json").read_text())
    for cell in genotype.cells:
        edges = importance["edges"][cell]
        names = [(edge["source"], edge["target"], edge["operation"]) for edge in edges]
        assert names == genotype.edges(cell)
        tenths = [10 * edge["score_drop"] for edge in edges]  # the accuracy of ten samples
        assert tenths == pytest.approx([round(value) for value in tenths], abs=1e-5)
    assert (importance_run.directory / "importance.svg").is_file()
    assert "lost without" in importance_run.out


def test_networks_without_edges_have_no_importances(commands: Any, tmp_path: Path) -> None:
    network = ("space=mlp", 'genotype={"space": "mlp", "layers": ["relu_16"]}', "epochs=1")
    run = commands.run("retrain", tmp_path / "mlp", *network)
    line = commands.error_of("evaluate", f"checkpoint={run.directory}", "importance=true")
    assert "space=mlp" in line


def test_a_killed_evaluation_has_all_files_but_its_summary_and_can_be_repeated(
    retrain_run: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure may fail. Files that the repeated evaluation does not write are removed."""
    folder = tmp_path / "run"
    arguments = [f"checkpoint={retrain_run.directory}", f"hydra.run.dir={folder}"]

    def killed(files: RunDirectory, summary: Any) -> None:
        raise KeyboardInterrupt

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no font")

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "finish", killed)
        patch.setattr(evaluate, "draw_edge_importances", fail)
        with (
            pytest.warns(UserWarning, match="importance.svg was not made: no font"),
            pytest.raises((KeyboardInterrupt, SystemExit)),
        ):
            commands.call("evaluate", [*arguments, "importance=true"])
    written = {file.name for file in folder.iterdir()}
    files = {"confusion.svg", "importance.json", "genotype.json", "env.json", "config.yaml"}
    assert files <= written
    assert not {"summary.json", "importance.svg"} & written
    commands.call("evaluate", arguments)
    assert (folder / "summary.json").exists()
    assert not (folder / "importance.json").exists()
    assert "already holds a run" in commands.error_of("evaluate", *arguments)
    assert "already holds a run" in commands.error_of("export", *arguments)
