"""Limits of a search: the returned network keeps them, and wrong limits end in one line."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch

from darts.judging.devices.latency_model import LinearModel
from darts.judging.devices.memory import memory
from darts.spaces import parse_genotype
from darts.spaces.nas201 import Nas201
from darts.training.cost import count_macs, count_parameters

TINY = (
    *("collapse.every=0", "dataset=synthetic", "dataset.samples=64", "space=nas201"),
    *("space.channels=2", "space.cells=1", "epochs=2", "loader.batch_size=16"),
)


def phone(path: Path) -> Path:
    """Write a latency model that counts operations; 3x3 convolutions are slow."""
    weights = {
        "count.cell.nor_conv_3x3": 3.0,
        "count.cell.nor_conv_1x1": 1.0,
        "count.cell.avg_pool_3x3": 0.5,
    }
    LinearModel("nas201", "phone", "ridge", "operations", 1.0, weights, []).save(path)
    return path


def network(summary: Any, **sizes: int) -> torch.nn.Module:
    space = Nas201(**{"channels": 2, "cells": 1} | sizes)
    return space.network(parse_genotype(summary["genotype"]), classes=10, in_channels=3).eval()


@pytest.mark.slow
def test_the_network_of_a_search_keeps_all_limits(tmp_path: Path) -> None:
    limits = ("limit.parameters=1480", "limit.ram_kb=1.5", "limit.bits=8", "limit.latency_ms=5")
    device = f"limit.device={phone(tmp_path / 'phone.json')}"
    done = commands.run("search", tmp_path / "run", *TINY, *limits, device)
    summary = done.json("summary.json")
    net = network(summary)
    assert summary["network_parameters"] == count_parameters(net.parameters()) <= 1480
    need = memory(net, (3, 8, 8), dtype=torch.int8).ram_bytes / 1024
    assert summary["network_ram_kb"] == need <= 1.5
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
    command = done.out.rpartition("python -m darts.retrain ")[2].splitlines()[0]
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
        (("limit.macs=1e6", "discretize=perturbation"), "cannot keep limits"),
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
    model = phone(tmp_path / "phone.json")
    words = ("epochs=30", "arch_optimizer.lr=0.1", "arch_optimizer.weight_decay=0")
    penalty = ("penalty.latency=0.002", "penalty.weight=50", f"penalty.device={model}")
    done = commands.run("search", tmp_path / "run", *TINY, *words, *penalty)
    rows = [row["expected_latency"] for row in done.rows if "expected_latency" in row]
    assert rows[0] > 0.004
    assert rows[-1] < 0.0022


@pytest.mark.slow
@pytest.mark.parametrize("method", ["darts_v1", "gdas", "drnas", "pc_darts", "fair_darts"])
def test_searches_of_every_kind_keep_a_limit(tmp_path: Path, method: str) -> None:
    words = ("space=cnn", "space.channels=4", "space.cells=2", "epochs=4", f"method={method}")
    done = commands.run("search", tmp_path / "run", *TINY[:3], *words, "limit.macs=1e5")
    assert done.json("summary.json")["network_macs"] <= 1e5


@pytest.mark.slow
def test_random_sampling_keeps_a_limit(tmp_path: Path) -> None:
    words = ("discretize=sampling", "discretize.samples=10", "limit.parameters=1450")
    done = commands.run("search", tmp_path / "run", *TINY, *words)
    assert done.json("summary.json")["network_parameters"] <= 1450
