"""Limits and fronts of searches, and dry runs, which advise what fits the budget."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import command_calls as commands
import pytest
import torch
from tiny_search import phone

from darts.api import SearchRun
from darts.escaping import for_html
from darts.judging.devices.memory import count_weights
from darts.spaces import parse_genotype
from darts.spaces.nas201 import Nas201
from darts.training.checkpoint import load_checkpoint
from darts.training.cost import count_macs, count_parameters
from darts.training.dry_run import estimate_cost

TINY = (
    *("collapse.every=0", "dataset=synthetic", "dataset.samples=64", "space=nas201"),
    *("space.channels=2", "space.cells=1", "epochs=2", "loader.batch_size=16"),
)


def network(summary: Any, **sizes: int) -> torch.nn.Module:
    space = Nas201(**{"channels": 2, "cells": 1} | sizes)
    return space.network(parse_genotype(summary["genotype"]), classes=10, in_channels=3).eval()


@pytest.mark.slow
def test_the_network_of_a_search_keeps_all_limits(tmp_path: Path) -> None:
    limits = ("limit.parameters=1480", "limit.flash_kb=1.5", "limit.bits=8", "limit.latency_ms=5")
    device = f"limit.device={phone(tmp_path)}"
    done = commands.run("search", tmp_path / "run", *TINY, *limits, device)
    summary = done.json("summary.json")
    net = network(summary)
    assert summary["network_parameters"] == count_parameters(net.parameters()) <= 1480
    assert summary["network_flash_kb"] == count_weights(net) / 1024 <= 1.5
    operations = [name for _, _, name in parse_genotype(summary["genotype"]).edges("cell")]
    predicted = 1 + 3 * operations.count("nor_conv_3x3") + operations.count("nor_conv_1x1")
    predicted += 0.5 * operations.count("avg_pool_3x3")
    assert summary["network_latency_ms"] == pytest.approx(predicted)
    assert predicted <= 5
    assert "network_latency_ms" in done.out


def test_limits_refer_to_the_sizes_of_the_retraining(tmp_path: Path) -> None:
    words = ("limit.macs=2e5", "limit.sizes.channels=4", "limit.sizes.cells=2")
    done = commands.run("search", tmp_path / "run", *TINY, *words)
    summary = done.json("summary.json")
    net = network(summary, channels=4, cells=2)
    assert summary["network_macs"] == count_macs(net, torch.zeros(1, 3, 8, 8)) <= 2e5
    command = done.out.rpartition("darts retrain ")[2].splitlines()[0]
    assert {"space.channels=4", "space.cells=2"} <= set(shlex.split(command))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("limit.macs=10",), "limit.macs=10: no network of space=nas201 is within the limits"),
        (("limit.latency_ms=3",), "limit.latency_ms=3: a search needs a latency model"),
        (("limit.device=pixel",), "limit.device=pixel: has no effect unless"),
        (("limit.latency_ms=3", "limit.device=pixel"), "there is no devices/pixel.json"),
        (("limit.sizes.channels=4",), "no limit uses it"),
        (("limit.macs=1e6", "limit.sizes.width=4"), "has no size width; choose from channels"),
        (("limit.flash_kb=9", "limit.bits=4"), "limit.bits=4: must be one of 8, 16, 32"),
        (("limit.macs=1e6", "limit.bits=8"), "limit.bits=8: has no effect unless"),
        (("penalty.device=pixel",), "penalty.device=pixel: has no effect unless"),
    ],
)
def test_wrong_limits_end_in_one_line(words: tuple[str, ...], message: str) -> None:
    assert message in commands.error_of("search", *TINY, *words)


def test_a_lookup_table_of_other_sizes_is_refused(tmp_path: Path) -> None:
    words = ("space=nas201", "space.channels=2", "space.cells=1", "shape=[3,8,8]", "threads=1")
    table = tmp_path / "table.csv"
    measured = (*words, "repeats=3", "warmup=1", f"out={table}")
    commands.run("device", tmp_path / "measure", "action=measure", *measured)
    own = (*TINY, "epochs=1", "limit.latency_ms=1000", f"limit.device={table}")
    done = commands.run("search", tmp_path / "run", *own)
    assert 0 < done.json("summary.json")["network_latency_ms"] <= 1000
    for word, message in (
        ("space.channels=4", "measured with space.channels=2, and the networks have"),
        ("dataset.size=12", "samples of shape [3, 8, 8], and the data has [3, 12, 12]"),
    ):
        assert message in commands.error_of("search", *own, word)


@pytest.mark.slow
def test_a_penalty_by_a_latency_model_prefers_fast_operations(tmp_path: Path) -> None:
    """The penalty is larger than the loss, so the expected latency falls to its target."""
    model = phone(tmp_path)
    words = ("epochs=30", "arch_optimizer.lr=0.1", "arch_optimizer.weight_decay=0")
    penalty = ("penalty.latency=0.002", "penalty.weight=50", f"penalty.device={model}")
    done = commands.run("search", tmp_path / "run", *TINY, *words, *penalty)
    rows = [row["expected_latency"] for row in done.rows if "expected_latency" in row]
    assert rows[0] > 0.004
    assert rows[-1] < 0.0022


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        *((f"method={m}",) for m in ("darts_v1", "gdas", "drnas", "pc_darts", "fair_darts")),
        ("discretize=sampling", "discretize.samples=10"),
    ],
)
def test_searches_of_every_kind_keep_a_limit(tmp_path: Path, words: tuple[str, ...]) -> None:
    own = ("space=cnn", "space.channels=4", "space.cells=2", "epochs=4", *words)
    done = commands.run("search", tmp_path / "run", *TINY[:3], *own, "limit.macs=1e5")
    assert done.json("summary.json")["network_macs"] <= 1e5


FRONT = ("tracking.tensorboard=false", *TINY, "front.cost=macs", "front.points=4")
FRONT += ("tracking.figures=true",)


def rows_of(directory: Path) -> list[dict[str, str]]:
    return commands.read_table(directory / "front.csv")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return commands.run("search", tmp_path_factory.mktemp("front") / "run", *FRONT)


@pytest.mark.slow
def test_a_search_writes_its_front(whole: Any, tmp_path: Path) -> None:
    folder, out = whole.directory, whole.out
    rows, summary = rows_of(folder), whole.json("summary.json")
    assert len(rows) >= 2
    assert len({row["genotype"] for row in rows}) == len(rows)
    assert summary["front_points"] == len(rows)
    for row in rows:
        file = folder / "front" / f"{row['point']}.json"
        assert str(parse_genotype(file.read_text())) == row["genotype"]
        assert float(row["macs"]) <= float(row["budget"])
        assert float(row["macs"]) == count_macs(network(row), torch.zeros(1, 3, 8, 8))
        assert f"front/{row['point']}.json" in out
    assert [str(g) for g in SearchRun(folder).front] == [row["genotype"] for row in rows]
    on_front = [row for row in rows if row["on_front"] == "True"]
    costs = [float(row["macs"]) for row in on_front]
    scores = [float(row["valid_accuracy"]) for row in on_front]
    order = sorted(range(len(costs)), key=costs.__getitem__)
    assert [scores[n] for n in order] == sorted(scores)
    assert (folder / "front.svg").read_text().lstrip().startswith("<?xml")
    # Other commands read the files of the front, and the report reads the run.
    words = [word for word in FRONT if not word.startswith(("front.", "collapse."))]
    words += [f"genotype={folder / 'front' / '1.json'}", "auxiliary=0", "drop_path=0"]
    commands.run("retrain", tmp_path / "trained", *words)
    page = tmp_path / "page.html"
    commands.call("report", [str(folder), f"out={page}"])
    assert all(f"<td>{for_html(row['genotype'])}</td>" in page.read_text() for row in rows)


@pytest.mark.slow
def test_points_use_up_their_budgets_even_if_the_alphas_do_not(tmp_path: Path) -> None:
    """Without a penalty, the alphas of all budgets prefer operations regardless of their cost."""
    commands.run("search", tmp_path / "run", *FRONT, "front.weight=1e-6")
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 4
    for smaller, row in itertools.pairwise(rows):
        assert float(smaller["budget"]) < float(row["macs"]) <= float(row["budget"])


@pytest.mark.slow
def test_a_resumed_search_finds_the_same_front(whole: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [*FRONT, "save_minutes=0", f"hydra.run.dir={folder}"]
    commands.crash(3, partial(commands.call, "search", words))
    commands.call("search", [f"resume={folder}"], folder)
    assert rows_of(folder) == rows_of(whole.directory)
    nets = [
        load_checkpoint(directory / "checkpoint.safetensors")["searcher"]["net"]
        for directory in (folder, whole.directory)
    ]
    assert torch.equal(*(net["alphas.cell_offsets"] for net in nets))
    assert nets[0]["alphas.cell_offsets"].abs().max() > 0


CODE = (
    "import sys; from darts.recipes import search; from darts.config import launch;"
    "print(launch('search', search.check, search.search, sys.argv[1:])['peak_memory_mb'])"
)
LARGE = ("dataset=synthetic", "dataset.samples=256", "dataset.size=32", "epochs=1")


def peak_memory_mb(*overrides: str) -> float:
    """Return the peak memory of a search in a new process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, *overrides],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=500,
    )
    return float(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_dry_run_estimates_the_memory_of_the_run(tmp_path: Path) -> None:
    own = (*LARGE, "space=nas201", "space.cells=1", "method=darts_v2", "collapse.every=1")
    estimate = peak_memory_mb(*own, "dry_run=true", f"hydra.run.dir={tmp_path / 'dry'}")
    actual = peak_memory_mb(*own, f"hydra.run.dir={tmp_path / 'run'}")
    assert estimate == pytest.approx(actual, rel=0.2)


def test_a_dry_run_prints_its_estimate() -> None:
    done = commands.run("retrain", None, "genotype=DARTS_V2", "dry_run=true")
    assert done.result["estimated_joules"] > 0
    for word in ("parameters", "macs", "peak_memory_mb", "estimated_time"):
        assert word in done.out
        assert word in done.result


SMALL = (
    *("dry_run=true", "dataset.samples=48", "loader.batch_size=8", "epochs=1"),
    *("space=nas201", "space.channels=4", "space.cells=1"),
)


@pytest.mark.parametrize(
    ("overrides", "missing"),
    [
        ((), []),
        (("epochs=5",), ["collapse checks"]),
        (("method=darts_es",), ["eigenvalues (stopping=curvature)"]),
        (("method=darts_pt",), ["discretize=perturbation"]),
        (("method=random_sharing", "epochs=5"), ["discretize=sampling"]),
    ],
)
def test_dry_runs_name_what_is_not_counted(overrides: tuple[str, ...], missing: list[str]) -> None:
    done = commands.run("search", None, *SMALL, *overrides)
    assert done.result["not_counted"] == missing
    assert (f"not counted: {', '.join(missing)}" in done.out) == bool(missing)


def test_a_dry_run_measures_an_epoch_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds of epochs of a search differ in their stage and in whether the alphas learn."""
    estimate = Mock(wraps=estimate_cost)
    monkeypatch.setattr("darts.recipes.search.estimate_cost", estimate)
    for overrides in ((), ("method=pc_darts",), ("method=drnas", "arch_optimizer.warmup=0.4")):
        commands.run("search", None, *SMALL, "epochs=10", *overrides)
    counted = [call.args[1] for call in estimate.call_args_list]
    assert counted == [{0: 10}, {0: 3, 3: 7}, {0: 2, 2: 3, 5: 2, 7: 3}]
