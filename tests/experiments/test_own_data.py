"""The experiments with own data."""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import own_data
import own_data_baselines as baselines
import own_data_expert
import own_data_images
import own_data_table
import pytest
import records
import runs
import soundfile
import torch
from own_data_result import Limits
from own_data_samples import correct_samples, paired_interval, unpaired_interval
from PIL import Image

from darts.data import load
from darts.running.jobs import Future, Outcome


@pytest.fixture
def args(tmp_path, monkeypatch) -> argparse.Namespace:
    """Arguments of a command whose results are written to a temporary folder."""
    tables = ("own_data", "own_data_budgets")
    page = "".join(f"<!-- {name} -->\n<!-- end of {name} -->\n" for name in tables)
    (tmp_path / "README.md").write_text(page)
    monkeypatch.setattr(records, "HERE", tmp_path)
    monkeypatch.setattr(own_data_table, "HERE", tmp_path)
    folders = {"data": published(tmp_path / "published"), "out": tmp_path / "out"}
    options = {"only": None, "minutes": 0.1, "seeds": [0], "epochs": 1, "device": "cpu"}
    return argparse.Namespace(clock="processor", **folders, **options)


def published(folder: Path) -> Path:
    """Write small files in the layout of the published data; return their folder."""
    random = np.random.default_rng(0)
    (folder / "ptb").mkdir(parents=True)
    for split in ("train", "valid", "test"):
        words = random.choice(["a", "bc", "def"], (4000, 8))
        text = "".join(" ".join(line) + "\n" for line in words)
        (folder / "ptb" / f"ptb.{split}.txt").write_text(text)
    (folder / "agnews").mkdir()
    with (folder / "agnews" / "test.csv").open("w", newline="") as file:
        topics = ("war vote", "match goal", "stocks bank", "chip web")
        for row in range(3800):
            number = row % 4
            csv.writer(file).writerow([number + 1, topics[number], f"item {row}"])
    (folder / "fsdd" / "recordings").mkdir(parents=True)
    for digit in range(2):
        for index in range(10):
            path = folder / "fsdd" / "recordings" / f"{digit}_ann_{index}.wav"
            tone = np.sin(np.arange(4000) * (0.2 + digit)) * 8000 + random.normal(0, 100, 4000)
            soundfile.write(path, tone.astype("<i2"), 8000)
    return folder


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_prepared_files_are_reproducible_disjoint_and_readable(args, tmp_path):
    args.only = ["wine", "noisy", "words_60k", "chars_60k", "news_2000", "spoken_digits", "voices"]
    for dataset, folder in own_data.prepared(args):
        again = tmp_path / "again" / dataset.name
        assert dataset.prepare(args.data, again)
        assert digest(again) == digest(folder) != {}
        overrides = dict(text.split("=") for text in own_data.OVERRIDES[dataset.kind])
        level = overrides.get("dataset.level")
        source = load(overrides["dataset"], root=folder, **({"level": level} if level else {}))
        assert len(source.train) > len(source.test) > 0
        if dataset.kind == "recordings":
            parts = [{f.name for f in folder.glob(f"{p}/*/*")} for p in ("train", "valid", "test")]
            assert [len(part) for part in parts] == [12, 4, 4]
            assert not set.intersection(*parts)
        elif dataset.name in ("noisy", "news_2000"):
            files = (folder / "train.csv", folder / "test.csv")
            assert not set.intersection(*(set(f.read_text().splitlines()[1:]) for f in files))


def test_baselines_are_recorded_once(args, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MIN_STEPS", 2)
    args.only = ["wine", "diabetes", "voices", "words_60k", "news_2000", "spoken_digits"]
    sets = own_data.DATA_SETS
    own_data.run_models(args, "baseline", own_data.run_baseline)
    written = json.loads((tmp_path / "results/own_data.json").read_text())
    rows = {row["data"]: row for row in written}
    assert list(rows) == args.only
    assert rows["wine"]["test"] > 0.9
    assert rows["news_2000"]["test"] == 1.0
    assert rows["diabetes"]["test"] == pytest.approx(
        1 - np.mean(np.array(rows["diabetes"]["errors"].split(), float)), rel=1e-3
    )
    assert 0.2 < rows["diabetes"]["test"] < 0.6
    assert 1 < rows["words_60k"]["test"] < 10
    for name, row in rows.items():
        assert row["metric"] == sets[name].metric
        assert row["epochs"] == (None if name in ("wine", "diabetes", "news_2000") else 1)
    fail = Mock(side_effect=AssertionError("a finished row is repeated"))
    own_data.run_models(args, "baseline", fail)
    args.only, args.seeds = ["wine"], [1]
    with pytest.raises(AssertionError, match="repeated"):
        own_data.run_models(args, "baseline", fail)


def test_find_gets_the_path_and_the_budget_only(args, tmp_path, monkeypatch):
    args.only, calls = ["chars_60k", "wine"], []

    def run(command, directory, *overrides):
        calls.append((command, *overrides))
        scores = {"test_perplexity": 5.0, "test_accuracy": 0.75, "valid_accuracy": 0.9}
        costs = {"seconds": 8.0, "winner_seconds": 2.0, "parameters": 10}
        baseline = {"baseline_wins": False, "baseline_test_accuracy": 0.5}
        return {**scores, **costs, **baseline, "gain": 0.05, "gain_low": -0.01, "gain_high": 0.11}

    correct = np.arange(54) % 4 > 0
    monkeypatch.setattr(own_data, "run", run)
    monkeypatch.setattr(own_data, "correct_samples", lambda run, device: correct)
    own_data.run_find(args)
    root = (args.out / "data" / "wine").resolve()
    own = ("dataset=csv", f"dataset.root={root}", "budget.minutes=0.1", "seed=0", "device=cpu")
    assert calls[1] == ("find", *own)
    args.only = ["wine"]
    own_data.run_models(args, "baseline", own_data.run_baseline)
    own_data.write_table(args.only)
    with (tmp_path / "results" / "own_data.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["test of find"] == "75.00"
    assert line["gain of the search"] == "+5.00 [-1.00, +11.00]"
    assert (line["found networks"], line["winner_seconds / seconds"]) == ("1 of 1", "0.25")
    (row,) = [
        row
        for row in own_data.record("own_data", own_data.KEY, [])
        if (row["data"], row["method"]) == ("wine", "find")
    ]
    assert row["baseline_test_accuracy"] == 0.5
    assert "valid_accuracy" not in row
    plain = float(line["test of the baseline"])
    assert line["find minus baseline"].startswith(f"{75 - plain:+.2f} [")
    assert "| `wine` | table | 124 | 54 |" in (tmp_path / "README.md").read_text()
    for args.minutes in (1.0, 5.0):
        own_data.run_find(args)
    own_data.write_table(args.only)
    page = (tmp_path / "README.md").read_text()
    assert "| `wine` | accuracy % | 75.00 | 75.00 |  | +0.00 [" in page


def test_the_unpaired_interval_is_that_of_newcombe():
    # Newcombe 1998, table II, method 10: 56 of 70 and 48 of 80; 10 of 10 and 0 of 20.
    assert unpaired_interval(0.8, 0.6, 70, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert unpaired_interval(1.0, 0.0, 10, 20) == pytest.approx((0.6791, 1.0), abs=1e-4)


def test_the_paired_interval_has_its_coverage():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        hard = random.random(400)
        ours = [random.random(400) > 0.6 * hard for _ in range(2)]
        theirs = [random.random(400) > 0.8 * hard]
        low, high = paired_interval(ours, theirs)
        covered += low < 0.1 < high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


def test_the_baseline_of_find_trains_alone(args, tmp_path, monkeypatch, capsys):
    args.only, jobs = ["wine", "chars_60k"], []
    for name, part in (("wine", ".fold0"), ("chars_60k", "")):
        found = args.out / "find" / "0.1_minutes" / f"{name}-0"
        candidate = found / "runs" / f"best{part}"
        candidate.mkdir(parents=True)
        (found / "summary.json").write_text('{"baseline": "best"}')
        held_out = ["validation=0.2", "validation_fold=0"] if part else []
        recorded = ["space=mlp", *held_out, "selection=best", "epochs=3", "max_seconds=6"]
        (candidate / "overrides.json").write_text(json.dumps({"overrides": recorded}))

    class Executor:
        def submit(self, job):
            future = Future(job)
            jobs.append(job)
            summary = {"test_accuracy": 0.75, "test_perplexity": 5.0, "parameters": 10}
            future.set_result(Outcome({**summary, "epochs": 9, "seconds": 6.0}))
            return future

    monkeypatch.setattr(own_data, "InlineExecutor", Executor)
    monkeypatch.setattr(own_data, "correct_samples", lambda run, device: np.ones(54, bool))
    own_data.run_alone(args)
    common = ("epochs=100000", "max_seconds=6", "evaluate_test=true")
    assert set(jobs[0].overrides) == {"space=mlp", "validation=0", "selection=last", *common}
    assert set(jobs[1].overrides) == {"space=mlp", "selection=best", *common}
    rows = own_data.record("own_data", own_data.KEY, [])
    assert [(row["method"], row["model"]) for row in rows] == [("alone", "best")] * 2
    args.seeds = [1]
    own_data.run_alone(args)
    assert "wine seed 1: left out, because" in capsys.readouterr().out
    assert len(jobs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "documents"])
def test_correct_samples_are_in_the_order_of_the_file(tmp_path, kind):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    swapped = random.random(200) < 0.3  # of the test file only
    folder = tmp_path / "data"
    folder.mkdir()
    for split, written in (("train", labels), ("test", labels ^ swapped)):
        lines = ["x,label"] if kind == "table" else ["text,label"]
        for label, word in zip(written, labels, strict=True):
            text = ("good ", "bad ")[word] * random.integers(1, 9)
            lines.append(f"{word if kind == 'table' else text},{label}")
        (folder / f"{split}.csv").write_text("\n".join(lines))
    genotype = {
        "table": '{"space":"mlp","layers":["relu_64"]}',
        "documents": '{"space":"transformer","blocks":[["identity","gelu_1"]]}',
    }[kind]
    (tmp_path / "genotype.json").write_text(genotype)
    summary = runs.run(
        "retrain",
        tmp_path / "run",
        *(*own_data.OVERRIDES[kind], f"dataset.root={folder}"),
        f"space={'mlp' if kind == 'table' else 'transformer'}",
        f"genotype={tmp_path / 'genotype.json'}",
        *("epochs=8", "optimizer.lr=0.02", "loader.batch_size=16", "device=cpu"),
        *("tracking.figures=false", "tracking.tensorboard=false"),
    )
    correct = correct_samples(tmp_path / "run", "cpu")
    assert np.array_equal(correct, ~swapped)
    assert correct.mean() == pytest.approx(summary["test_accuracy"])


def test_training_keeps_the_best_epoch_and_the_time_limit():
    limits = Limits(seconds=1e9, epochs=5, seed=0, clock=lambda: 0.0)
    net = torch.nn.Linear(1, 1)
    seen, scores = [], iter([(3.0,), (1.0,), (2.0,), (1.0,), (4.0,)])

    def losses():
        yield net(torch.ones(1, 1)).sum()

    def validate():
        seen.append(net.weight.item())
        return next(scores)

    assert baselines.fit(net, losses, validate, limits, lr=0.1, begin=0.0) == ((1.0,), 2, 5)
    assert net.weight.item() == seen[1] != seen[4]
    late = replace(limits, seconds=10.0, clock=lambda: 11.0)
    _, _, epochs = baselines.fit(net, losses, lambda: (0.0,), late, lr=0.1, begin=0.0)
    assert epochs == 1


def test_the_class_of_added_images_is_the_sum_of_their_labels(tmp_path):
    labels = np.arange(10)
    images = np.broadcast_to(10 * labels[:, None, None], (10, 4, 4)).astype(np.uint8)
    splits = {"train": (images[:8], labels[:8]), "test": (images[8:], labels[8:])}
    own_data_images._write_added(tmp_path, splits, {"train": 200, "test": 0})
    files = sorted((tmp_path / "train").glob("*/*.png"))
    written = [(path.parent.name, np.asarray(Image.open(path))) for path in files]
    assert len(written) == 200
    assert len({name for name, _ in written}) > 15
    for name, pixels in written:
        values = pixels.reshape(-1, 3)
        assert (values == values[0]).all()
        assert values[0].sum() == 10 * int(name) < 200
    assert any(len(set(pixels[0, 0])) == 3 for _, pixels in written)


def test_added_digits_share_no_digit_between_splits():
    splits = own_data_images.large_digits()
    train, test = ({image.tobytes() for image in splits[name][0]} for name in ("train", "test"))
    assert not train & test
    assert (len(splits["train"][1]), len(splits["test"][1])) == (1257, 540)


@pytest.mark.parametrize(
    "shape", [(12, 11), (12, 12, 3), pytest.param((34, 34), marks=pytest.mark.slow)]
)
def test_the_expert_learns(tmp_path, shape):
    random = np.random.default_rng(0)
    for split, count in (("train", 70), ("test", 20)):
        for name, value in (("bright", 140), ("dark", 110)):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.normal(value, 20, shape).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{index}.png")
    ticks = itertools.count()
    limits = Limits(60.0, 0, 0, clock=lambda: float(next(ticks)))
    result = own_data_expert.train_expert(None, tmp_path, limits)
    assert result.test > 0.9
    assert (result.samples, result.train_samples) == (40, 140)
    assert result.correct.mean() == result.test
    assert result.epochs == 19  # the clock ticks three times per epoch of two batches
