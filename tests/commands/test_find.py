"""``darts.find``: files, limits, resume, and what it prints."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
import shutil
import signal
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import command_calls as commands
import numpy as np
import pytest
import tiny_tasks
import torch
from end_states import NOT_REPRODUCIBLE, identical
from slow_cases import slow_except
from tiny_search import phone

from darts import find_command, load, predict
from darts.config import ConfigError, Invocation, compose, launch
from darts.evaluate import evaluate
from darts.find import main
from darts.finding import race, results, setup, winner
from darts.finding.decisions import FILE
from darts.reading import read_json
from darts.recipes import ensemble
from darts.recipes.calibration import validation_outputs
from darts.spaces import parse_genotype
from darts.tracking.tensorboard import event_offset
from darts.training.checkpoint import load_checkpoint
from darts.training.distributed import Ranks

PLAN = (
    *("plan.equal=epochs", "plan.slice_epochs=1", "plan.rounds=2", "plan.newcomers=2"),
    *("plan.epochs=3", "executor=inline"),
)
"""A plan without decisions that depend on time."""

SMALL = ("space=mlp", "space.widths=[8,16]", "space.cells=1", "plan.folds=1", "device=cpu")
TINY = ("dataset=synthetic", "dataset.samples=96", "dataset.size=8", *SMALL, *PLAN)
MEASURED = ("seconds", "joules", "gco2e", "peak_memory_mb", "git_revision")
STEPS = (3, 6, 23, 38, 43)
"""Steps in which a run is interrupted: in the first epoch, in each round, of the winner, and of the
final run."""


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "wine.csv"
    tiny_tasks.wine().to_csv(file, index=False)
    return file


def rows_of(directory: Path) -> list[dict[str, str]]:
    return commands.read_table(directory / "candidates.csv")


@pytest.fixture(scope="module")
def found(wine: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
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
    assert summary["baseline_wins"] == (summary["origin"] == "baseline")
    assert summary["verdict"] in found.out
    assert summary["outlook"] in found.out
    curves = [event_offset(path) for path in (found.directory, *found.directory.glob("runs/*"))]
    assert sum(size > 0 for size in curves) > 1  # TensorBoard shows the race
    assert summary["winner_seconds"] < summary["seconds"]
    card = (found.directory / "model_card.md").read_text(encoding="utf-8")
    assert "The test split was scored once" in card
    names = {path.name for path in found.directory.iterdir()}
    assert names >= {
        "config.yaml", "overrides.json", "env.json", "genotype.json", "genotype.svg",
        "checkpoint.safetensors", "split.npz", "metrics.jsonl", "model_card.md", "candidates.csv",
        "race.jsonl", FILE,
    }  # fmt: skip


def test_the_output_shows_the_data_and_the_best_candidates(found: Any) -> None:
    data = found.out.partition("searching in")[0]
    for text in ("training    ", "validation  ", "test        ", "3: ", "accuracy, the default"):
        assert text in data
    leaders = found.out.partition("candidate ")[2].splitlines()[1:]
    best = max(rows_of(found.directory), key=lambda row: float(row["valid_accuracy"]))
    assert leaders[0].split()[0] in {row["candidate"] for row in rows_of(found.directory)}
    assert f"{100 * float(best['valid_accuracy']):.2f} %" in leaders[0]
    assert float(leaders[0].split()[-1]) > 0  # milliseconds


def test_the_candidates_have_the_epochs_of_their_stages(found: Any) -> None:
    rows = rows_of(found.directory)
    assert len(rows) == found.json("summary.json")["candidates"] == 12  # 10 baselines
    assert {row["epochs"] for row in rows} == {"1", "2", "3"}
    (longest,) = [row for row in rows if row["epochs"] == "3"]
    assert longest["genotype"] == found.json("summary.json")["genotype"]
    assert {row["runs"] for row in rows} == {"2"}  # plan.folds
    files = list(found.directory.glob("runs/*/summary.json"))
    assert {row["directory"] for row in rows} <= {file.parent.name for file in files}
    for file in files:  # no test sample is scored before the end
        assert not any(name.startswith("test_") for name in read_json(file))


CONVNETS = (
    *("dataset=synthetic", "dataset.samples=64", "dataset.size=8", "device=cpu", *PLAN),
    *("plan.folds=1", "plan.settings=false", "plan.newcomers=3", "plan.rounds=3"),
)


@pytest.fixture
def one_convnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only baseline is a small network; found networks rank first and win."""
    shape = {"widths": [2, 3, 4], "heads": ["max_1"]}
    baseline = json.dumps({"space": "macro", "blocks": ["conv_3x3"] * 3, "shape": shape})
    family = setup.FAMILIES["images"][0]
    one = dataclasses.replace(family, baselines={"small": baseline})
    monkeypatch.setattr(setup, "FAMILIES", {"images": (one,)})
    monkeypatch.setattr(results, "validation_interval", lambda *_, **__: (0.1, 0.2))
    monkeypatch.setattr(
        race, "ranked", lambda own, metric: sorted(own, key=lambda r: -len(r.candidate.moves))
    )
    monkeypatch.setattr(winner, "ranked", race.ranked)
    monkeypatch.setattr(
        results, "ranked", lambda own, metric: sorted(own, key=lambda r: -len(r.candidate.moves))
    )


@pytest.mark.usefixtures("one_convnet")
def test_a_network_grows_by_moves_and_inherits_the_training_of_its_parents(tmp_path: Path) -> None:
    run = commands.run("find", tmp_path / "run", *CONVNETS, "plan.newcomers=1")
    summary = run.json("summary.json")
    moves = summary["found_moves"].split("; ")
    assert (summary["origin"], len(moves)) == ("found", 2)
    gain = [summary[f"search_gain{end}"] for end in ("_low", "_high")]
    assert gain == [0.1, 0.2]
    assert f"It differs from a baseline by: {summary['found_moves']}." in run.out
    candidates = {
        own["name"]: own for own in read_json(run.directory / FILE)["decisions"]["candidates"]
    }
    child = next(own for own in candidates.values() if own["moves"] == moves)
    parent = candidates[child["start"]["parent"]]
    assert parent["moves"] == moves[:1]
    assert candidates[parent["start"]["parent"]]["name"] == "convnet-small"
    file = run.directory / "starts" / f"{parent['name']}-{child['start']['epochs']}.safetensors"
    words = (run.directory / "runs" / child["name"] / "config.yaml").read_text()
    assert str(file) in words
    assert load_checkpoint(file)["config"]["genotype"] == parent["genotype"]
    final = load_checkpoint(run.directory / "checkpoint.safetensors")
    assert final["config"]["genotype"] == child["genotype"]


@pytest.mark.slow
@pytest.mark.usefixtures("one_convnet")
@pytest.mark.parametrize("step", [10, 25])
def test_a_race_with_moves_is_resumed_exactly(step: int, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    commands.run("find", whole, *CONVNETS)
    arguments = [*CONVNETS, f"hydra.run.dir={run}"]
    with commands.signal_in_step(step, signal.SIGTERM), pytest.raises(SystemExit, match="143"):
        launch("find", find_command.check, find_command.find, arguments)
    commands.call("find", [f"resume={run}"])
    assert_same(run, whole)


def test_a_found_network_is_compared_with_the_baseline_on_test_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = parse_genotype('{"space": "mlp", "layers": ["relu_2"]}')
    monkeypatch.setattr(setup, "BASELINES", {"mlp": {}})
    monkeypatch.setattr(setup, "largest_architecture", lambda networks: small)
    monkeypatch.setattr(results, "validation_interval", lambda *_, **__: (0.1, 0.2))
    words = ("space.widths=[2,64]", "plan.settings=false", "plan.slice_epochs=3", "plan.epochs=6")
    run = commands.run("find", tmp_path / "run", *TINY, *words)
    summary = run.json("summary.json")
    assert (summary["baseline_genotype"], summary["origin"]) == (str(small), "found")
    assert not summary["baseline_wins"]
    difference = summary["raced_test_accuracy"] - summary["baseline_test_accuracy"]
    assert summary["gain"] == pytest.approx(difference, abs=1e-6)
    assert summary["gain_low"] <= summary["gain"] <= summary["gain_high"]
    assert "of training each, the found network minus the baseline mlp-largest" in run.out
    for name, epochs in (("found", 3), ("baseline", 3)):
        checkpoint = load_checkpoint(run.directory / "duel" / name / "checkpoint.safetensors")
        assert checkpoint["epoch"] == epochs


def test_the_answer_trains_on_all_training_samples_at_last(found: Any) -> None:
    summary = found.json("summary.json")
    winner = next(
        row
        for row in rows_of(found.directory)
        if all(row[key] == summary[key] for key in ("genotype", "setting", "family"))
    )
    samples, held_out = 142, 0.2
    with np.load(found.directory / "split.npz") as split:
        assert [len(split[name]) for name in split.files] == [samples]
    with np.load(found.directory / "runs" / winner["directory"] / "split.npz") as split:
        assert len(split["valid"]) == pytest.approx(held_out * samples, abs=2)
    curve, losses = (scores_by_epoch(found.directory, winner, n) for n in ("accuracy", "loss"))
    before = int(winner["epochs"]) - len(curve)  # of the leader, whose training it has continued
    useful = np.flatnonzero(losses <= losses[np.argmax(curve)])[-1]
    assert summary["final_epochs"] == before + 1 + useful


def scores_by_epoch(directory: Path, row: dict[str, str], name: str = "accuracy") -> Any:
    """Return the mean scores of both parts of a candidate, by epoch."""
    first = directory / "runs" / row["directory"]
    curves = []
    for run in (first, first.with_name(first.name.replace(".fold0", ".fold1"))):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        curves.append([line[f"valid_{name}"] for line in lines])
    return np.mean(curves, axis=0)


def test_only_the_answer_is_calibrated(found: Any) -> None:
    files = [*found.directory.rglob("checkpoint.safetensors")]
    calibrated = [file for file in files if "temperature" in load_checkpoint(file)["best"]]
    assert calibrated == [found.directory / "checkpoint.safetensors"]
    assert found.json("summary.json")["test_calibration_error"] < 0.3


def test_a_score_is_the_best_mean_over_disjoint_parts_of_the_samples(found: Any) -> None:
    for row in rows_of(found.directory):
        curve = scores_by_epoch(found.directory, row)
        assert float(row["valid_accuracy"]) == pytest.approx(curve.max())
        held_out = []
        for part in range(2):
            run = row["directory"].replace(".fold0", f".fold{part}")
            with np.load(found.directory / "runs" / run / "split.npz") as split:
                held_out.append(set(split["valid"]))
        assert not held_out[0] & held_out[1]


def test_the_found_network_can_be_used(found: Any, wine: Path, tmp_path: Path) -> None:
    (checkpoint, _) = commands.printed_arguments(found.out, "predict")
    done = commands.run("evaluate", tmp_path / "run", checkpoint)
    assert done.result["test_accuracy"] == found.json("summary.json")["test_accuracy"]
    commands.run("predict", tmp_path / "predict", checkpoint, f"input={wine}")
    assert len(commands.read_table(tmp_path / "predict" / "predictions.csv")) == 178
    arguments = commands.printed_arguments(found.out, "export")
    commands.run("export", tmp_path / "e", *arguments, "format=safetensors")
    assert (tmp_path / "e" / "network.safetensors").exists()


def test_better_trees_are_used_like_a_network(
    wine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boost = find_command.boost_trees
    monkeypatch.setattr(
        find_command, "boost_trees", lambda *own: dataclasses.replace(boost(*own), valid=2.0)
    )
    words = ("dataset=csv", f"dataset.root={wine}", "space=mlp", *PLAN, "plan.rounds=1")
    run = commands.run("find", tmp_path / "run", *words, "plan.folds=1", "result=any")
    summary = run.json("summary.json")
    assert summary["result"] == "trees"
    assert summary["test_accuracy"] == summary["tree_test_accuracy"] > 0.8
    assert 0 < summary["network_test_accuracy"] <= 1
    arguments = commands.printed_arguments(run.out, "export")
    done = commands.run("evaluate", tmp_path / "evaluate", *arguments)
    assert done.result["test_accuracy"] == summary["test_accuracy"]
    assert done.result["trees"] > 0
    commands.run("report", tmp_path, str(done.directory))
    exported = commands.printed_arguments(run.out, "export")
    commands.run("export", tmp_path / "export", *exported, "format=torch_export")
    rows = tiny_tasks.wine().drop(columns="cultivar").to_numpy()[:20]
    model = load(run.directory)
    graph = torch.export.load(tmp_path / "export" / "network.pt2").module()
    found = graph(torch.tensor(rows, dtype=torch.float32))[0].softmax(1)
    torch.testing.assert_close(found, predict(model, rows).probabilities)
    commands.run("report", tmp_path, str(run.directory))
    page = (run.directory / "report.html").read_text()
    assert "The trees are the result" in page
    assert summary["tree_note"] in page


@pytest.mark.parametrize(
    "task", ["classification", pytest.param("regression", marks=pytest.mark.slow)]
)
def test_without_test_labels_the_answer_predicts_them(tmp_path: Path, task: str) -> None:
    numbers = np.random.default_rng(0).normal(40, 9, (100, 2, 6, 5))
    targets = numbers.mean((1, 2, 3))
    targets = targets > 40 if task == "classification" else targets
    splits = {"train": slice(60), "valid": slice(60, 80), "test": slice(80, 100)}
    for split, chosen in splits.items():
        np.save(tmp_path / f"{split}_x.npy", numbers[chosen])
        np.save(tmp_path / f"{split}_y.npy", targets[chosen])
    (tmp_path / "test_y.npy").unlink()
    words = ("dataset=challenge", f"dataset.root={tmp_path}", f"task={task}", "space=mlp", *PLAN)
    run = commands.run("find", tmp_path / "run", *words, "ensemble=2")
    written = np.load(run.directory / "predictions.npy")
    found = predict(run.directory, numbers[80:])
    if task == "classification":
        assert written.dtype == np.int64
        assert written.tolist() == [int(name) for name in found.classes]
    else:
        np.testing.assert_array_equal(written, found.values)
        assert np.abs(written - 40).mean() < 9  # in the units of the targets
    assert f"Predictions for 20 test samples without labels: {run.directory}/pred" in run.out
    assert not any(name.startswith("test_") for name in run.json("summary.json"))
    assert "darts evaluate" not in run.out


def test_a_result_at_chance_level_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        np.save(tmp_path / f"{split}_x.npy", random.normal(size=(60, 1, 8, 8)))
        np.save(tmp_path / f"{split}_y.npy", random.permutation(60) % 2)
    words = ["dataset=challenge", f"dataset.root={tmp_path}", *SMALL, *PLAN]
    monkeypatch.setattr("sys.argv", ["darts find", *words, f"hydra.run.dir={tmp_path / 'run'}"])
    with pytest.raises(SystemExit, match="3"):
        main()
    reason = read_json(tmp_path / "run" / "summary.json")["worthless"]
    assert reason.startswith("test_accuracy 0.")
    assert reason.endswith("30 of 60 samples); try a larger budget or more data")
    assert capsys.readouterr().err == f"darts find: the result is worthless: {reason}\n"


def test_an_ensemble_of_the_best_networks_is_the_answer(
    wine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "greedy_selection", lambda *_, **__: [2, 0, 1])
    words = ("dataset=csv", f"dataset.root={wine}", "space=mlp", *PLAN, "plan.rounds=1")
    run = commands.run("find", tmp_path / "run", *words, "plan.folds=1", "ensemble=3")
    summary = run.json("summary.json")
    assert list(summary["ensemble"].values()) == [2, 1]
    rows = [row for row in rows_of(run.directory) if row["directory"] in summary["ensemble"]]
    assert {row["epochs"] for row in rows} == {"3"}
    samples = tiny_tasks.wine().drop(columns="cultivar").to_numpy()[:20]
    parts = [predict(run.directory / "runs" / name, samples) for name in summary["ensemble"]]
    averaged = (2 * parts[0].probabilities + parts[1].probabilities) / 3
    answer = predict(run.directory, samples).probabilities
    temperature = load_checkpoint(run.directory / "checkpoint.safetensors")["best"]["temperature"]
    torch.testing.assert_close(answer, (averaged.log() / temperature).softmax(1))
    for split in ("test", "valid"):
        words = (f"checkpoint={run.directory}", f"split={split}")
        done = commands.run("evaluate", tmp_path / split, *words)
        accuracy = pytest.approx(summary[f"{split}_accuracy"])
        assert done.result[f"{split}_accuracy"] == accuracy
        assert (done.directory / "confusion.svg").exists()
    assert summary["single_test_accuracy"] <= 1
    gain = summary["test_accuracy"] - summary["single_test_accuracy"]
    assert summary["ensemble_gain"] == pytest.approx(gain, abs=1e-6)
    assert summary["ensemble_parameters"] == sum(int(row["parameters"]) for row in rows)
    assert summary["ensemble_ms"] > 0
    commands.run("report", tmp_path, str(run.directory))
    assert summary["ensemble_note"] in (run.directory / "report.html").read_text()


def test_an_ensemble_has_all_runs_of_its_networks_and_trees(
    wine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "greedy_selection", lambda *_, **__: [0, 2, 1])
    boost, made = find_command.boost_trees, []

    def boost_worse(*arguments: Any) -> Any:
        made.append(boost(*arguments))
        return dataclasses.replace(made[0], valid=-1.0)

    monkeypatch.setattr(find_command, "boost_trees", boost_worse)
    words = ("dataset=csv", f"dataset.root={wine}", "space=mlp", *PLAN, "plan.rounds=1", "seed=1")
    own = ("plan.folds=2", "ensemble=2", "result=any")
    run = commands.run("find", tmp_path / "run", *words, *own)
    summary = run.json("summary.json")
    network, trees = summary["ensemble"].items()
    assert (network[1], trees) == (2, ("trees", 1))
    members = [run.directory / "runs" / f"{network[0]}.fold{part}" for part in range(2)]
    members.append(run.directory / "trees.safetensors")
    samples = tiny_tasks.wine().drop(columns="cultivar").to_numpy()
    # Each run counts twice, and trees on all samples once for each of the two parts.
    parts = [predict(member, samples).probabilities.log() for member in members]
    averaged = torch.stack(parts).exp().mean(0)
    checkpoint = load_checkpoint(run.directory / "checkpoint.safetensors")["best"]
    answer = predict(run.directory, samples).probabilities
    torch.testing.assert_close(answer, (averaged.log() / checkpoint["temperature"]).softmax(1))
    # The validation score is that of predictions by members that have not seen the sample.
    hits, tree_hits = list[float](), list[float]()
    for part, member in enumerate(members[:2]):
        pair = (member, run.directory / "trees" / str(part))
        (ours, classes, _), (theirs, same, _) = (
            validation_outputs(path, Ranks("cpu")) for path in pair
        )
        assert classes.equal(same)
        hit = (2 * ours.softmax(1) + theirs.softmax(1)).argmax(1) == classes
        hits.append(hit.double().mean().item())
        tree_hits.append((theirs.argmax(1) == classes).double().mean().item())
    assert made[0].valid == pytest.approx(sum(tree_hits) / 2)
    assert summary["valid_accuracy"] == pytest.approx(sum(hits) / 2)
    command = (f"checkpoint={run.directory}", "split=valid")
    with pytest.raises(ConfigError, match="has no such split"):
        evaluate(compose("evaluate", list(command)), Invocation(tmp_path / "evaluate", command))


@pytest.mark.slow
def test_without_an_ensemble_the_winner_is_the_answer(
    wine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best network after the final need not be the winner of the duel before it."""
    monkeypatch.setattr(ensemble, "greedy_selection", lambda *_, **__: [0, 1, 0])
    words = ("dataset=csv", f"dataset.root={wine}", "space=mlp", *PLAN, "plan.rounds=1")
    run = commands.run("find", tmp_path / "run", *words, "plan.folds=1", "ensemble=3")
    summary = run.json("summary.json")
    winner_run = run.directory / "runs" / summary["baseline"]
    assert summary["baseline_wins"]
    answer, expected = (
        load_checkpoint(path / "checkpoint.safetensors")["best"]["net"]
        for path in (run.directory, winner_run)
    )
    assert all(weight.equal(expected[name]) for name, weight in answer.items())
    assert "ensemble_gain" not in summary
    assert "No average of networks has a better validation score" in run.out


@pytest.mark.slow
def test_sentence_pairs_have_baselines(tmp_path: Path) -> None:
    words = ["one", "two", "three", "four"]
    sentences = [" ".join(p) for p in itertools.permutations(words, 3)]
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.a").write_text("\n".join(sentences) + "\n")
        reversed_ = [" ".join(sentence.split()[::-1]) for sentence in sentences]
        (tmp_path / f"{split}.b").write_text("\n".join(reversed_) + "\n")
    data = ("task=translation", "dataset=pairs", f"dataset.root={tmp_path}", "dataset.source=a")
    short = ("dataset.target=b", *PLAN, "plan.rounds=1", "plan.epochs=1")
    run = commands.run("find", tmp_path / "run", *data, *short)
    summary = run.json("summary.json")
    assert summary["baseline_wins"]
    assert "final_epochs" not in summary  # the files have a validation split
    assert summary["family"] == "recurrent"
    assert summary[f"test_{summary['metric']}"] is not None


@pytest.mark.slow
def test_a_run_exports_its_network(tmp_path: Path) -> None:
    run = tmp_path / "the run"
    done = commands.run("find", run, *TINY, "export=onnx_int8")
    exported = read_json(run / "export" / "summary.json")
    assert (exported["format"], exported["quantize"]) == ("onnx", "int8")
    assert Path(exported["file"]) == run / "export" / "network.onnx"
    assert exported["genotype"] == done.json("summary.json")["genotype"]
    assert "darts export 'checkpoint=" in done.out


def test_limits_are_hard_and_without_a_refit_validation_samples_stay_held_out(
    tmp_path: Path,
) -> None:
    limit = 1700  # relu_8 on 8x8x3 pixels has 1,536 MACs in its first layer
    words = (f"limit.macs={limit}", "plan.refit=false")
    done = commands.run("find", tmp_path / "run", *TINY, *words)
    assert done.json("summary.json")["macs"] <= limit
    assert "final_epochs" not in done.json("summary.json")
    assert not (done.directory / "runs" / "final").exists()
    with np.load(done.directory / "split.npz") as split:
        assert len(split["valid"]) > 0
    assert all(float(row["macs"]) <= limit for row in rows_of(done.directory))


@pytest.mark.slow
def test_networks_keep_a_predicted_latency(tmp_path: Path) -> None:
    words = [word for word in TINY if not word.startswith("space")]
    words += ["space=nas201", "space.channels=2", "space.cells=1"]
    words += ["limit.latency_ms=8", f"limit.device={phone(tmp_path)}"]
    done = commands.run("find", tmp_path / "run", *words)
    genotypes = [parse_genotype(row["genotype"]) for row in rows_of(done.directory)]
    assert len(genotypes) > 1
    for genotype in genotypes:
        names = [name for _, _, name in genotype.edges("cell")]
        assert 1 + 3 * names.count("nor_conv_3x3") + names.count("nor_conv_1x1") <= 8
    assert done.json("summary.json")["latency_ms"] <= 8


def test_a_latency_model_of_another_space_is_refused(tmp_path: Path) -> None:
    limit = ("limit.latency_ms=8", f"limit.device={phone(tmp_path)}")
    line = commands.error_of("find", *TINY, *limit)
    assert "is for space=nas201; set space=nas201" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("budget.hours=1", "budget.minutes=5"), "budget.hours=1 and budget.minutes=5"),
        (("epochs=5",), "epochs=5: darts find sets epochs itself; set plan.epochs"),
        (("start=run",), "start=run: darts find sets start itself; leave it out"),
        (("task.calibrate=false",), "darts find sets task.calibrate itself; leave it out"),
        (("plan.evaluations=5",), "plan.evaluations"),
        (("optimizer.speed=5",), "optimizer.speed"),
        (("benchmark.table=x.csv",), "benchmark.table=x.csv: a table covers one space"),
        (("validation=0",), "validation=0: darts find chooses by validation scores"),
        (("dataset=csv", "dataset.root=missing.csv"), "missing.csv"),
        ((*TINY, "limit.macs=10"), "limit.macs=10"),
        (("dataset=ptb",), "task"),
        (
            ("dataset=ptb", "task=language_model", "export=onnx_int8"),
            "export=onnx_int8: takes networks for images, rows, audio",
        ),
        (
            ("dataset=ptb", "task=language_model", "ensemble=2"),
            "ensemble=2: averages predictions of samples, and the data contains text",
        ),
    ],
)
def test_wrong_settings_end_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    assert message in commands.error_of("find", *arguments)


def assert_same(actual: Path, expected: Path) -> None:
    """Check that two runs have the same decisions, scores and weights."""
    decisions, rows, checkpoints = [], [], []
    for directory in (actual, expected):
        saved = read_json(directory / FILE)["decisions"]
        duel = saved.pop("duel")
        for candidate in saved["candidates"]:
            del candidate["start"]["seconds"]  # measured
        scores = {k: v for k, v in duel["baseline_summary"].items() if k not in MEASURED}
        saved = {k: v for k, v in saved.items() if k not in ("seconds", "begin", "budget")}
        decisions.append({**saved, "duel": {**duel, "baseline_summary": scores}})
        rows.append([{k: v for k, v in r.items() if k not in MEASURED} for r in rows_of(directory)])
        checkpoints.append(load_checkpoint(directory / "checkpoint.safetensors"))
    assert decisions[0] == decisions[1]
    assert rows[0] == rows[1]
    for key in checkpoints[0].keys() - NOT_REPRODUCIBLE:
        assert identical(checkpoints[0][key], checkpoints[1][key]), key


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("find") / "whole"
    commands.run("find", directory, *TINY)
    return Path(directory)


@pytest.mark.parametrize("steps", slow_except(STEPS, (6,)))
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    whole: Path, tmp_path: Path, steps: int
) -> None:
    run, output = tmp_path / "run", io.StringIO()
    arguments = [*TINY, f"hydra.run.dir={run}"]
    with (
        commands.signal_in_step(steps, signal.SIGTERM),
        redirect_stdout(output),
        pytest.raises(SystemExit, match="143"),
    ):
        launch("find", find_command.check, find_command.find, arguments)
    printed = output.getvalue()
    assert commands.printed_arguments(printed, "find") == [f"resume={run}"]
    assert not (run / "summary.json").exists()
    decisions = (run / FILE).read_bytes()
    (run / FILE).unlink()
    assert "is missing; start a new run" in commands.error_of("find", f"resume={run}")
    (run / FILE).write_bytes(decisions)
    if steps > STEPS[0]:  # after the first epoch, there is an answer
        arguments = commands.printed_arguments(printed, "evaluate")
        done = commands.call("evaluate", [*arguments, f"hydra.run.dir={tmp_path / 'scores'}"])
        assert 0 <= done.result["test_accuracy"] <= 1
    commands.call("find", [f"resume={run}"])
    assert_same(run, whole)


def test_a_complete_run_is_resumed_only_with_a_larger_budget(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    for more in ((), ("budget.minutes=5",)):
        assert "complete" in commands.error_of("find", f"resume={run}", *more)
    commands.call("find", [f"resume={run}", "budget.minutes=20"])
    assert_same(run, whole)  # with plan.equal=epochs, there is nothing left to do


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_result(whole: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        run = tmp_path / str(workers)
        words = [word for word in TINY if not word.startswith("executor=")]
        process = commands.start("find", *words, f"workers={workers}", f"hydra.run.dir={run}")
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
        assert os.listdir(run / "workers")
        assert_same(run, whole)


@pytest.mark.slow
def test_a_timed_run_uses_its_time(tmp_path: Path) -> None:
    words = ("dataset=synthetic", "dataset.samples=512", "dataset.size=8", "space=mlp")
    more = ("device=cpu", "budget.minutes=0.2", "executor=inline")
    run = commands.run("find", tmp_path / "run", *words, *more)
    assert run.json("summary.json")["seconds"] > 0.5 * 12
    rows = rows_of(run.directory)
    assert rows
    assert max(float(row["seconds"]) for row in rows) > 12 / 64  # longer than the first slice
