"""``darts.judge`` scores architectures and compares the scores with the truth."""

from __future__ import annotations

import csv
import json
import math
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import command_calls as commands
import numpy as np
import pytest
import torch
from tiny_tasks import write_documents

from darts import judge
from darts.config import JudgeConfig
from darts.hpo.architecture_list import read_architectures
from darts.hpo.judge_plan import JudgePlan
from darts.hpo.judge_scores import Row, ScoreAnalysis, ScoreFile
from darts.judging.training_free import SCORES
from darts.reading import read_json
from darts.running import execution
from darts.running.jobs import RunFailed
from darts.spaces import SPACES
from darts.strategies.judges import TrainingJudge, TrialSpec
from darts.tasks.metrics import CLASSIFICATION_METRICS
from darts.writing import write_json

SMALL = ("space=nas201", "space.channels=2", "space.cells=1", "dataset.size=8")
TINY = (*SMALL, "judge.samples=4")


def rows_of(directory: Path) -> list[dict[str, str]]:
    return commands.read_table(directory / "scores.csv")


def write_genotypes(file: Path, space: str, count: int, truth: bool = True) -> list[str]:
    """Write random genotypes with a number as truth; return them."""
    generator = torch.Generator().manual_seed(0)
    texts = [str(SPACES[space]().random(generator)) for _ in range(count)]
    with file.open("w", encoding="utf-8", newline="") as stream:
        if truth:
            writer = csv.writer(stream)
            writer.writerow(["architecture", "quality"])
            writer.writerows(zip(texts, range(count), strict=True))
        else:
            stream.write("\n".join(texts) + "\n")
    return texts


def test_scores_are_compared_with_a_benchmark_table(table: Path, tmp_path: Path) -> None:
    judged = ("judge=training_free", "architectures=12", f"benchmark.table={table}")
    done = commands.run("judge", tmp_path / "run", *TINY, *judged)
    summary, rows = done.json("summary.json"), rows_of(done.directory)
    assert summary["architectures"] == len(rows) == len({row["genotype"] for row in rows}) == 12
    for prefix in ("", "parameters_", "macs_", "zico_", "naswot_"):
        assert -1 <= summary[f"{prefix}spearman"] <= 1
        assert -1 <= summary[f"{prefix}kendall"] <= 1
        assert 0 <= summary[f"{prefix}top_recall"] <= 1
    assert summary["seconds_per_architecture"] > 0
    values = [float(row["judge"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert rows[0]["genotype"] == summary["genotype"] == done.result["genotype"]
    assert json.loads((done.directory / "genotype.json").read_text())["space"] == "nas201"
    assert f"{summary['spearman']:+.3f}" in done.out


def test_a_list_with_truth_calibrates_the_combination(tmp_path: Path) -> None:
    """The architectures of the calibration do not count in the agreement."""
    file = tmp_path / "list.csv"
    write_genotypes(file, "cnn", 8)
    sizes = ("space=cnn", "space.channels=2", "space.cells=2", "judge.samples=4", "dataset.size=8")
    judged = ("judge=training_free", f"genotypes={file}", "truth=quality", "calibration=4")
    done = commands.run("judge", tmp_path / "run", *sizes, *judged)
    summary = done.json("summary.json")
    assert (summary["architectures"], summary["calibration"]) == (8, 4)
    weights = {name: value for name, value in summary.items() if name.startswith("weight_")}
    assert set(weights) == {
        f"weight_{name}"
        for name in ("expressivity", "trainability", "macs", "naswot", "synflow", "zico")
    }
    assert len(set(weights.values())) > 1
    assert {row["truth"] for row in rows_of(done.directory)} == {f"{n}.0" for n in range(8)}


@pytest.mark.slow
def test_without_truth_short_trainings_calibrate(tmp_path: Path) -> None:
    sizes = (*TINY, "dataset.samples=64", "epochs=1", "architectures=6", "metric=loss")
    done = commands.run("judge", tmp_path / "run", *sizes, "judge=training_free", "calibration=3")
    assert len(list(done.directory.glob("trials/*/summary.json"))) == 3
    summary = done.json("summary.json")
    assert summary["calibration_seconds"] > 0
    assert "weight_zico" in summary
    assert "spearman" not in summary  # the truth is unknown


@pytest.mark.slow
def test_a_predictor_learns_from_some_true_scores(table: Path, tmp_path: Path) -> None:
    judged = ("judge=predictor", "judge.scores=[macs,synflow]", f"benchmark.table={table}")
    sizes = (*TINY, "architectures=30", "calibration=20")
    done = commands.run("judge", tmp_path / "run", *sizes, *judged)
    assert done.result["calibration"] == 20
    assert set(done.result) >= {"spearman", "macs_spearman", "parameters_spearman"}
    assert all(float(row["deviation"]) >= 0 for row in rows_of(done.directory))


def test_a_list_without_truth_is_ranked(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    texts = write_genotypes(file, "nas201", 4, truth=False)
    done = commands.run("judge", tmp_path / "run", *TINY, "judge=macs", f"genotypes={file}")
    rows = rows_of(done.directory)
    assert {row["genotype"] for row in rows} == set(texts)
    assert [float(row["judge"]) for row in rows] == [float(row["macs"]) for row in rows]
    assert "spearman" not in done.json("summary.json")


@pytest.mark.parametrize(
    ("judge", "more"),
    [
        ("table", ()),
        pytest.param("train", ("epochs=1", "dataset.samples=64"), marks=pytest.mark.slow),
    ],
)
def test_other_judges_score_architectures(
    table: Path, tmp_path: Path, judge: str, more: tuple[str, ...]
) -> None:
    judged = (f"judge={judge}", "architectures=3", f"benchmark.table={table}", *more)
    done = commands.run("judge", tmp_path / "run", *SMALL, *judged)
    rows = rows_of(done.directory)
    assert all(math.isfinite(float(row["valid_accuracy"])) for row in rows)
    if judge == "table":  # the table's validation accuracy is the test accuracy minus a constant
        assert done.result["spearman"] == pytest.approx(1)
    else:
        seconds = [read_json(file)["seconds"] for file in tmp_path.rglob("trials/*/summary.json")]
        assert done.result["seconds_per_architecture"] == pytest.approx(np.mean(seconds))


@pytest.mark.parametrize("space", ["macro", "mlp"])
def test_supported_scores_of_other_spaces_are_numbers(tmp_path: Path, space: str) -> None:
    sizes = {"macro": ("space.channels=4",), "mlp": ()}[space]
    scores = f"judge.scores=[{','.join(SCORES)}]"
    arguments = (f"space={space}", *sizes, "judge.samples=4", "dataset.size=8", scores)
    done = commands.run("judge", tmp_path / "run", *arguments, "architectures=3")
    for row in rows_of(done.directory):
        assert all(not math.isnan(float(value)) for key, value in row.items() if key != "genotype")


def test_a_failed_run_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail = Mock(side_effect=RuntimeError("no such operator"))
    monkeypatch.setattr(execution, "run_command", fail)
    judged = ("judge=train", "architectures=2", f"hydra.run.dir={tmp_path / 'run'}")
    line = commands.error_of("judge", *SMALL, *judged)
    log = tmp_path / "run" / "trials" / "0000.log"
    assert f"RuntimeError: no such operator; see {log}" in line
    assert "Traceback" in log.read_text()


def test_a_run_counts_with_its_own_seconds(tmp_path: Path) -> None:
    """A command that was interrupted before it saved the score does not repeat the run."""
    plan: Any = SimpleNamespace(metric=CLASSIFICATION_METRICS["accuracy"])
    tools: Any = SimpleNamespace(train=lambda trial: read_json(trial.directory / "summary.json"))
    trial = TrialSpec((), None, tmp_path / "complete")
    write_json(trial.directory / "summary.json", {"valid_accuracy": 0.5, "seconds": 7.5})
    assert judge.train_shortly(plan, trial, tools) == (0.5, 7.5)
    tools.train = Mock(side_effect=RunFailed("the loss became nan"))
    trial = TrialSpec((), None, tmp_path / "diverged")
    write_json(trial.directory / "diverged.json", {"reason": "nan", "seconds": 2.5})
    score, seconds = judge.train_shortly(plan, trial, tools)
    assert math.isnan(score)
    assert seconds == 2.5
    # Every summary has null for nan and infinity.
    assert math.isnan(judge.number_of({"valid_loss": None}, "valid_loss"))


def test_an_interrupted_command_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from darts.hpo import trial_tools

    arguments = (*TINY, "judge=synflow", "architectures=5")
    whole = commands.run("judge", tmp_path / "whole", *arguments)
    calls = 0
    compute = trial_tools.UntrainedSetup.scores

    def interrupted(self: Any, genotype: Any) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 5:  # after a trial: the judge and the baselines of the second architecture
            signal.raise_signal(signal.SIGINT)
        return compute(self, genotype)

    monkeypatch.setattr(trial_tools.UntrainedSetup, "scores", interrupted)
    with pytest.raises(SystemExit, match=r"^130$"):
        commands.run("judge", tmp_path / "run", *arguments)
    assert not (tmp_path / "run" / "summary.json").exists()
    calls = 100
    done = commands.call("judge", [f"resume={tmp_path / 'run'}"], tmp_path / "run")
    assert calls == 100 + 1 + 2 * 3
    assert rows_of(done.directory) == rows_of(whole.directory)
    assert "complete" in commands.error_of("judge", f"resume={tmp_path / 'run'}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("genotypes=f", "truth=x", "benchmark.table=t"), "truth=x and benchmark.table are mut"),
        (("judge=zico", "truth=x"), "truth=x names a column of a file; set genotypes=FILE"),
        (("judge=table",), "judge=table needs benchmark.table=FILE"),
        (("judge=train", "calibration=8"), "calibration=8 weighs several scores"),
        (("calibration=3",), "calibration=3 leaves fewer than 2 of 4 architectures to judge"),
        (("calibration=2",), "calibration=2: must be 0 or at least 3"),
        (("judge=train", "validation=0", "selection=last"), "validation=0 leaves no data to score"),
        (("judge=predictor", "calibration=2"), "calibration=2: a predictor needs at least 10"),
        (("genotypes=/no/file",), "genotypes='/no/file' cannot be read: No such"),
        (("genotype=DARTS_V2",), "darts judge scores several architectures; set genotypes=FILE"),
        (("judge=table", "metric=loss", "benchmark.table={table}"), "accuracy, not metric=loss"),
        (
            ("judge=zico", "judge.samples=200"),
            "the scores need 2 batches of this size, and dataset=synthetic has only 1",
        ),
    ],
)
def test_wrong_settings_are_one_line(table: Path, arguments: tuple[str, ...], message: str) -> None:
    arguments = tuple(argument.format(table=table) for argument in arguments)
    assert message in commands.error_of("judge", *SMALL, "architectures=4", *arguments)


def test_unusable_files_end_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    texts = write_genotypes(file, "nas201", 3)
    base = (*TINY, f"genotypes={file}")
    error = commands.error_of("judge", *base, "truth=nonsense")
    assert "truth=nonsense" in error
    assert "choose from quality" in error
    file.write_text(f'architecture,quality\n"{texts[0]}",1\n"{texts[1]}",abc\n')
    error = commands.error_of("judge", *base, "truth=quality")
    assert "line 3: the truth 'abc' is not a number" in error
    file.write_text(f"{texts[0]}\nnonsense\n")
    assert "line 2" in commands.error_of("judge", *base)
    file.write_text(f"{texts[0]}\n")
    assert "at least 2 different architectures are needed" in commands.error_of("judge", *base)
    file.write_text(f"{texts[0]}\n{texts[0]}\n")
    assert "are needed, and it has 1" in commands.error_of("judge", *base)
    error = commands.error_of("judge", *TINY, f"genotypes={tmp_path}")
    assert "cannot be read: Is a directory" in error
    write_genotypes(file, "mlp", 2)
    assert "a genotype of space=mlp, not of space=nas201" in commands.error_of("judge", *base)


@pytest.mark.slow
def test_scores_that_do_not_apply_to_words_are_refused(tmp_path: Path) -> None:
    for split, count in (("train", 600), ("valid", 300), ("test", 300)):
        text = "\n".join(f"a b c d {n % 7}" for n in range(count))
        (tmp_path / f"{split}.txt").write_text(text + "\n")
    text = ("task=language_model", "dataset=text", f"dataset.root={tmp_path}", "space=transformer")
    sizes = ("space.cells=1", "architectures=2")
    error = commands.error_of("judge", *text, *sizes, "judge=naswot")
    assert "naswot needs inputs of numbers, such as images, not words; choose another" in error
    error = commands.error_of("judge", *text, *sizes)
    assert "set judge.scores=[macs,zico]" in error


def test_rows_without_truth_are_left_out_and_the_last_of_equal_rows_counts(tmp_path: Path) -> None:
    """The trials of a study may fail, or evaluate an architecture again."""
    file = tmp_path / "trials.csv"
    first, second, third = write_genotypes(file, "nas201", 3)
    rows = ((first, "0.5"), (second, ""), (third, "0.7"), (first, "0.6"))
    lines = [f'"{genotype}",{truth}' for genotype, truth in rows]
    file.write_text("\n".join(["genotype,valid_accuracy", *lines]) + "\n")
    found = read_architectures(str(file), truth="valid_accuracy", space="nas201")
    assert [(str(a.genotype), a.truth) for a in found] == [(first, 0.6), (third, 0.7)]


def test_a_loss_is_better_if_it_is_lower(tmp_path: Path) -> None:
    """A training that diverges has the worst loss; the agreement has the sign of the judge."""
    file = tmp_path / "list.csv"
    texts = write_genotypes(file, "nas201", 4)
    architectures = read_architectures(str(file), truth="quality", space="nas201")
    plan = JudgePlan(
        overrides=(),
        architectures=tuple(architectures),
        space=SPACES["nas201"](),
        calibrating=np.zeros(4, dtype=bool),
        metric=CLASSIFICATION_METRICS["loss"],
    )
    scored = ScoreFile(tmp_path / "scores.json", "")
    for text, loss in zip(texts, (math.inf, 3.0, 2.0, 1.0), strict=True):
        scores = {"valid_loss": loss, "parameters": 1.0, "macs": 1.0}
        scored.rows[text] = Row(
            genotype=text, seconds=1.0, scores=scores, calibration=None, calibration_seconds=0.0
        )
    analysis = ScoreAnalysis(JudgeConfig(judge=TrainingJudge()), plan, scored)
    assert [row["genotype"] for row in analysis.rows()] == texts[::-1]
    assert analysis.rows()[-1]["valid_loss"] == math.inf
    for name in ("judge", "valid_loss"):
        found = analysis.agreements()[name]
        assert (found.spearman, found.top_recall) == (pytest.approx(1), 1)


def test_an_experiment_describes_the_networks(tmp_path: Path) -> None:
    """Experiments of retrainings set sizes and data set; the command line may change them."""
    data = ("dataset=synthetic", "dataset.size=8", "space.channels=8", "judge=parameters")
    arguments = ("experiment=nas_bench_macro", *data, "architectures=2")
    done = commands.run("judge", tmp_path / "run", *arguments)
    assert json.loads(done.result["genotype"])["space"] == "macro"


def test_a_changed_list_and_damaged_scores_are_not_continued(tmp_path: Path) -> None:
    """Otherwise, other architectures would calibrate, or an edited truth would count."""
    file = tmp_path / "list.csv"
    write_genotypes(file, "nas201", 4)
    arguments = (*TINY, "judge=macs", f"genotypes={file}", "truth=quality")
    done = commands.run("judge", tmp_path / "run", *arguments)
    (done.directory / "summary.json").unlink()
    original = file.read_text()
    file.write_text(original.replace(",3", ",7"))
    error = commands.error_of("judge", f"resume={done.directory}")
    assert "the architectures or their true scores changed after the run stopped" in error
    file.write_text(original)
    scores = done.directory / "scores.json"
    scores.write_text(scores.read_text()[:-20])
    assert "scores.json" in commands.error_of("judge", f"resume={done.directory}")


def test_a_calibration_without_correlation_warns(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    texts = write_genotypes(file, "nas201", 6, truth=False)
    lines = [f'"{text}",0.5' for text in texts]
    file.write_text("\n".join(["genotype,truth", *lines]) + "\n")
    judged = ("judge.scores=[macs,synflow]", f"genotypes={file}", "truth=truth", "calibration=3")
    with pytest.warns(UserWarning, match="found no correlation"):
        done = commands.run("judge", tmp_path / "run", *TINY, *judged)
    assert done.result["weight_macs"] == done.result["weight_synflow"] == 1


@pytest.mark.slow
def test_scores_do_not_depend_on_the_order_of_the_architectures(tmp_path: Path) -> None:
    """Embeddings are drawn by the constructors of networks, with the seed of the command."""
    generator = torch.Generator().manual_seed(0)
    texts = [str(SPACES["transformer"]().random(generator)) for _ in range(3)]
    write_documents(tmp_path)
    data = ("task=text_classification", "dataset=documents", f"dataset.root={tmp_path}")
    found = []
    for order in (texts, texts[::-1]):
        file = tmp_path / "list.txt"
        file.write_text("\n".join(order) + "\n")
        judged = (*data, "space=transformer", "judge=snip", "judge.samples=4")
        done = commands.run("judge", tmp_path / order[0][-9:-4], *judged, f"genotypes={file}")
        found.append({row["genotype"]: row["snip"] for row in rows_of(done.directory)})
    assert found[0] == found[1]
