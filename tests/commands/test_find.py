"""``darts.find``: stages, files, limits, resume, and what it prints."""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
import os
import shutil
import signal
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_wine

from darts import find
from darts.config import launch
from darts.finding.decisions import FILE
from darts.finding.outlook import describe_times
from darts.judging.devices.linear_model import LinearModel
from darts.reading import read_json
from darts.spaces import parse_genotype
from darts.training import loop

PLAN = (
    "plan.evaluations=12",
    "plan.proposals=2",
    "plan.search_epochs=0",
    "plan.short_epochs=1",
    "plan.epochs=3",
    "plan.rounds=1",
    "workers=0",
)
"""A plan without decisions that depend on time."""

TINY = ("dataset=synthetic", "dataset.samples=96", "dataset.size=8", "space=mlp", *PLAN)
TINY += (
    "plan.folds=1",
    "space.widths=[8,16]",
    "space.cells=1",
    "plan.settings=false",
    "device=cpu",
)


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wine data of scikit-learn as a CSV file."""
    data, file = load_wine(), tmp_path_factory.mktemp("data") / "wine.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(name.replace("/", "_") for name in data.feature_names), "cultivar"])
        for row, label in zip(data.data, data.target, strict=True):
            writer.writerow([*map(float, row), data.target_names[label]])
    return file


def rows_of(directory: Path) -> list[dict[str, str]]:
    with (directory / "candidates.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def found(commands: Any, wine: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A complete run on a table with nothing but data and plan."""
    folder = tmp_path_factory.mktemp("find") / "run"
    return commands.run(
        "find", folder, "dataset=csv", f"dataset.root={wine}", *PLAN, "plan.folds=2", "seed=1"
    )


def test_the_run_directory_holds_the_network_and_what_it_gained(found: Any) -> None:
    summary = found.json("summary.json")
    assert summary["command"] == "find"
    assert summary["metric"] == "accuracy"
    assert 0 <= summary["test_accuracy"] <= 1
    difference = summary["test_accuracy"] - summary["baseline_test_accuracy"]
    assert summary["gain"] == pytest.approx(difference, abs=1e-6)
    assert summary["gain_low"] <= summary["gain"] <= summary["gain_high"]
    assert summary["verdict"] in found.out
    assert summary["test_samples"] == 36
    names = {path.name for path in found.directory.iterdir()}
    assert names >= {
        "config.yaml", "overrides.json", "env.json", "genotype.json", "genotype.svg",
        "checkpoint.pt", "split.npz", "metrics.jsonl", "model_card.md", "candidates.csv", FILE,
    }  # fmt: skip


def test_all_stages_train_their_candidates(found: Any) -> None:
    rows = rows_of(found.directory)
    assert {row["origin"] for row in rows} == {"baseline", "evolution"}
    assert {"default", "lr_high", "lr_low", "dropout_low"} <= {row["setting"] for row in rows}
    refitted = {row["directory"] for row in rows if row["setting"].endswith("-refit")}
    assert {row["epochs"] for row in rows if row["directory"] not in refitted} == {"1", "3"}
    trainings = {row["directory"]: int(row["trainings"]) for row in rows}
    assert {trainings[name] for name in refitted} == {1}
    assert {n for name, n in trainings.items() if name not in refitted} == {2}  # plan.folds
    assert found.json("summary.json")["trainings"] == sum(trainings.values())
    final = [row for row in rows if row["epochs"] == "3"]
    assert "baseline" in {row["origin"] for row in final}  # it competes until the end
    for row in rows:
        assert (found.directory / "runs" / row["directory"] / "summary.json").exists()


def test_the_result_is_never_worse_than_the_best_baseline_on_validation_data(found: Any) -> None:
    summary = found.json("summary.json")
    assert summary["valid_accuracy"] >= summary["baseline_valid_accuracy"]
    rows = [row for row in rows_of(found.directory) if row["valid_accuracy"]]
    best = max(float(row["valid_accuracy"]) for row in rows if row["origin"] == "baseline")
    assert summary["baseline_valid_accuracy"] == pytest.approx(best)


def test_the_found_network_can_be_evaluated(commands: Any, found: Any, tmp_path: Path) -> None:
    arguments = commands.printed_arguments(found.out, "evaluate")
    done = commands.call("evaluate", [*arguments, f"hydra.run.dir={tmp_path / 'run'}"])
    assert done.result["test_accuracy"] == found.json("summary.json")["test_accuracy"]


def test_sentence_pairs_have_baselines(commands: Any, tmp_path: Path) -> None:
    """The targets are the words of short sentences in reverse order."""
    words = ["one", "two", "three", "four"]
    sentences = [" ".join(p) for p in itertools.permutations(words, 3)]
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.a").write_text("\n".join(sentences) + "\n")
        reversed_ = [" ".join(sentence.split()[::-1]) for sentence in sentences]
        (tmp_path / f"{split}.b").write_text("\n".join(reversed_) + "\n")
    run = commands.run(
        "find",
        tmp_path / "run",
        "task=translation",
        "dataset=pairs",
        f"dataset.root={tmp_path}",
        "dataset.source=a",
        "dataset.target=b",
        "plan.short_epochs=1",
        "plan.epochs=1",
        "plan.proposals=0",
        "plan.settings=false",
        "workers=0",
    )
    summary = run.json("summary.json")
    assert summary["baseline_wins"]
    assert summary["family"] == "recurrent"
    assert summary[f"test_{summary['metric']}"] is not None


def test_the_output_says_where_the_time_went_and_what_more_time_would_change(found: Any) -> None:
    summary = found.json("summary.json")
    stages = ("preparation", "baselines", "proposals", "race", "settings", "final", "refit")
    seconds = {stage: summary[f"seconds_{stage}"] for stage in stages}
    assert all(value >= 0 for value in seconds.values())
    assert sum(seconds.values()) == pytest.approx(summary["seconds"], abs=2)  # and the test scores
    assert summary["outlook"] in found.out
    assert "300 epochs, the longest useful training, instead of at most 3" in summary["outlook"]
    assert f"Time of the stages: {describe_times(seconds)}." in found.out


def test_a_report_shows_the_verdict_the_stages_and_all_trainings(
    commands: Any, found: Any, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    commands.call("report", [str(found.directory), f"out={out}"])
    page = html.unescape(out.read_text(encoding="utf-8"))
    summary = found.json("summary.json")
    assert summary["verdict"] in page
    assert summary["outlook"] in page
    assert "preparation" in page
    for row in rows_of(found.directory):
        assert row["directory"] in page


def test_the_result_and_the_best_baseline_train_on_all_training_samples_at_last(found: Any) -> None:
    summary = found.json("summary.json")
    refits = [row for row in rows_of(found.directory) if row["setting"].endswith("-refit")]
    assert len(refits) == (1 if summary["baseline_wins"] else 2)
    assert {row["genotype"] for row in refits} == {
        summary["genotype"],
        summary["baseline_genotype"],
    }
    held_out, samples = 0.2, 142
    for row in refits:
        assert (row["valid_accuracy"], row["valid_loss"]) == ("", "")
        with np.load(found.directory / "runs" / row["directory"] / "split.npz") as split:
            assert [len(split[name]) for name in split.files] == [samples]
    finals = [row for row in rows_of(found.directory) if row["epochs"] == "3"]
    with np.load(found.directory / "runs" / finals[0]["directory"] / "split.npz") as split:
        assert len(split["valid"]) == pytest.approx(held_out * samples, abs=2)
    assert str(summary["refit_epochs"]) in {row["epochs"] for row in refits}


@pytest.mark.parametrize(
    "key", ["plan.refit=false", pytest.param("validation=0.3", marks=pytest.mark.slow)]
)
def test_no_training_uses_validation_data_if_the_user_forbids_it(
    commands: Any, tmp_path: Path, key: str
) -> None:
    run = commands.run("find", tmp_path / "run", *TINY, "plan.proposals=0", key)
    assert "refit" not in {row["setting"].rpartition("-")[2] for row in rows_of(run.directory)}
    assert "refit_epochs" not in run.json("summary.json")


def test_a_score_is_the_best_mean_over_disjoint_parts_of_the_samples(found: Any) -> None:
    for row in rows_of(found.directory):
        if row["setting"].endswith("-refit"):
            continue
        first = found.directory / "runs" / row["directory"]
        runs = [first, first.with_name(first.name.replace(".fold0", ".fold1"))]
        curves, held_out = [], []
        for run in runs:
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            curves.append([line["valid_accuracy"] for line in lines])
            with np.load(run / "split.npz") as split:
                assert not set(split["train"]) & set(split["valid"])
                held_out.append(set(split["valid"]))
        assert not held_out[0] & held_out[1]
        assert float(row["valid_accuracy"]) == pytest.approx(np.mean(curves, axis=0).max())


def test_few_samples_are_held_out_in_turn(commands: Any, wine: Path, tmp_path: Path) -> None:
    words = ("dataset=csv", f"dataset.root={wine}", *PLAN, "plan.short_epochs=1", "plan.epochs=1")
    words += ("plan.proposals=0", "plan.settings=false", "space=mlp", "limit.macs=500")
    rows = rows_of(commands.run("find", tmp_path / "run", *words).directory)
    assert {row["trainings"] for row in rows if not row["setting"].endswith("-refit")} == {"5"}


def test_no_test_sample_is_scored_before_the_end(found: Any) -> None:
    files = list(found.directory.glob("runs/*/summary.json"))
    assert files
    for file in files:
        assert not any(name.startswith("test_") for name in json.loads(file.read_text()))


@pytest.mark.slow
def test_a_run_exports_its_network(commands: Any, tmp_path: Path) -> None:
    run = tmp_path / "the run"
    done = commands.run("find", run, *TINY, "export=onnx_int8")
    exported = read_json(run / "export" / "summary.json")
    assert (exported["format"], exported["quantize"]) == ("onnx", "int8")
    assert Path(exported["file"]) == run / "export" / "network.onnx"
    assert exported["genotype"] == done.json("summary.json")["genotype"]
    assert "python -m darts.export 'checkpoint=" in done.out


def test_limits_are_hard(commands: Any, tmp_path: Path) -> None:
    limit = 1700  # relu_8 on 8x8x3 pixels has 1,536 MACs in its first layer
    done = commands.run("find", tmp_path / "run", *TINY, f"limit.macs={limit}")
    assert done.json("summary.json")["macs"] <= limit
    assert all(float(row["macs"]) <= limit for row in rows_of(done.directory))


@pytest.mark.slow
def test_networks_keep_a_predicted_latency(commands: Any, tmp_path: Path) -> None:
    weights = {"count.cell.nor_conv_3x3": 3.0, "count.cell.nor_conv_1x1": 1.0}
    model = tmp_path / "phone.json"
    LinearModel("nas201", "phone", "ridge", "operations", 1.0, weights, []).save(model)
    words = [word for word in TINY if not word.startswith(("space", "plan.evaluations"))]
    words += ["space=nas201", "space.channels=2", "space.cells=1", "plan.evaluations=12"]
    words += ["limit.latency_ms=8", f"limit.device={model}", "methods=[darts_v1]"]
    done = commands.run("find", tmp_path / "run", *words, "plan.search_epochs=8")
    genotypes = [parse_genotype(row["genotype"]) for row in rows_of(done.directory)]
    assert len(genotypes) > 1
    for genotype in genotypes:
        names = [name for _, _, name in genotype.edges("cell")]
        assert 1 + 3 * names.count("nor_conv_3x3") + names.count("nor_conv_1x1") <= 8
    assert done.json("summary.json")["latency_ms"] <= 8
    search = read_json(done.directory / "runs" / "search-darts_v1" / "summary.json")
    assert search["network_latency_ms"] <= 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("limit.latency_ms=8", "limit.device=MODEL"), "is for space=nas201; set space=nas201"),
        (("limit.device=MODEL",), "nothing uses it; set limit.latency_ms"),
    ],
)
def test_a_latency_model_that_does_not_fit_is_refused(
    commands: Any, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    model = tmp_path / "phone.json"
    LinearModel("nas201", "phone", "ridge", "operations", 1.0, {}, []).save(model)
    own = [word.replace("MODEL", str(model)) for word in words]
    line = commands.error_of("find", *TINY, *own, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line


def test_a_limit_without_any_network_ends_in_one_line(commands: Any, tmp_path: Path) -> None:
    line = commands.error_of("find", *TINY, "limit.macs=10", f"hydra.run.dir={tmp_path / 'run'}")
    assert "limit.macs=10" in line
    assert not (tmp_path / "run").exists()


def test_missing_data_leaves_no_run_behind(commands: Any, tmp_path: Path) -> None:
    words = ("dataset=csv", f"dataset.root={tmp_path / 'missing.csv'}")
    assert "missing.csv" in commands.error_of("find", *words, f"hydra.run.dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("budget.hours=1", "budget.minutes=5"), "budget.hours=1 and budget.minutes=5"),
        (("epochs=5",), "epochs=5: darts.find sets epochs itself; set plan.epochs"),
        (("genotype=DARTS_V2",), "genotype=DARTS_V2: darts.find sets genotype itself"),
        (("methods=[darts_v9]",), "methods"),
        (("benchmark.table=x.csv",), "benchmark.table=x.csv: a table covers one space"),
        (("validation=0",), "validation=0: darts.find chooses by validation scores"),
        (("budget.minutes=0",), "budget.minutes=0"),
        (
            ("dataset=synthetic", "space=mlp", "plan.folds=11"),
            "plan.folds=11: validation=0.2 gives at most 5",
        ),
        (("dataset=ptb",), "task"),
        (
            ("dataset=ptb", "task=language_model", "export=onnx_int8"),
            "export=onnx_int8: takes networks for images, rows, audio",
        ),
        (("export=onxx",), "export='onxx' is unknown; choose from none, onnx, "),
        (("workers=-1",), "workers=-1"),
    ],
)
def test_wrong_settings_end_in_one_line(
    commands: Any, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    line = commands.error_of("find", *arguments, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line
    assert not (tmp_path / "run" / "config.yaml").exists()


def interrupt(commands: Any, directory: Path, steps: int, *more: str) -> str:
    """Start the tiny run and send it a Ctrl-C after some steps; return what it printed."""
    original, count = loop.require_finite, itertools.count(1)

    def counted(*arguments: Any) -> float:
        if next(count) == steps:
            signal.raise_signal(signal.SIGINT)
        return float(original(*arguments))

    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(loop, "require_finite", counted)
        with pytest.raises(SystemExit, match="130"):
            launch("find", find.check, find.find, [*TINY, *more, f"hydra.run.dir={directory}"])
    return printed.getvalue()


@pytest.mark.parametrize(("folds", "steps"), [(1, 9), pytest.param(2, 12, marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    commands: Any, tmp_path: Path, folds: int, steps: int
) -> None:
    several = f"plan.folds={folds}"
    whole = commands.run("find", tmp_path / "whole", *TINY, several)
    printed = interrupt(commands, tmp_path / "run", steps, several)
    assert commands.printed_arguments(printed, "find") == [f"resume={tmp_path / 'run'}"]
    assert not (tmp_path / "run" / "summary.json").exists()
    resumed = commands.call("find", [f"resume={tmp_path / 'run'}"], tmp_path / "run")
    measured = ("seconds", "joules", "gco2e")
    assert [
        {k: v for k, v in row.items() if k not in measured} for row in rows_of(resumed.directory)
    ] == [{k: v for k, v in row.items() if k not in measured} for row in rows_of(whole.directory)]
    ours, theirs = resumed.checkpoint, whole.checkpoint
    assert commands.identical(ours["best"], theirs["best"])
    assert "complete" in commands.error_of("find", f"resume={tmp_path / 'run'}")


def test_a_damaged_decision_ends_in_one_line(commands: Any, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    interrupt(commands, directory, steps=9)
    for content in ('{"epochs.baselines": {"a": "many"}}', "[]", "{"):
        copy = Path(shutil.copytree(directory, tmp_path / f"copy{len(content)}"))
        (copy / FILE).write_text(content, encoding="utf-8")
        assert FILE in commands.error_of("find", f"resume={copy}")


@pytest.mark.slow
def test_two_workers_find_the_same_as_this_process(commands: Any, tmp_path: Path) -> None:
    here = commands.run("find", tmp_path / "here", *TINY)
    process = commands.start("find", *TINY, "workers=2", f"hydra.run.dir={tmp_path / 'two'}")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    columns = ("candidate", "epochs", "valid_accuracy", "genotype")
    assert {tuple(row[c] for c in columns) for row in rows_of(tmp_path / "two")} == {
        tuple(row[c] for c in columns) for row in rows_of(here.directory)
    }


@pytest.mark.slow
def test_a_budget_is_kept_roughly(commands: Any, wine: Path, tmp_path: Path) -> None:
    words = ("dataset=csv", f"dataset.root={wine}", "budget.minutes=1.5", "workers=2")
    done = commands.run("find", tmp_path / "run", *words)
    assert done.json("summary.json")["seconds"] < 1.5 * 90
    assert os.listdir(tmp_path / "run" / "workers")
