"""CUDA graphs on a real GPU: trainings with graphs have the scores of those without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import darts

pytestmark = pytest.mark.cuda

SMALL = ("dataset=synthetic", "loader.batch_size=8", "epochs=2", "space.channels=4")
SEARCH = (*SMALL, "collapse.every=0", "arch_optimizer.warmup=0")
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "cnn": ("search", (*SEARCH, "space.cells=2")),
    "cnn, bfloat16": ("search", (*SEARCH, "space.cells=2", "precision=bf16")),
    "cnn, drop path": ("search", (*SEARCH, "space.cells=2", "drop_path=0.2")),
    "nas201, second order": ("search", (*SEARCH, "space=nas201", "method=darts_v2")),
    "nas201, drnas": ("search", (*SEARCH, "space=nas201", "method=drnas")),
    "macro": ("search", (*SEARCH, "space=macro")),
    "retraining": ("retrain", (*SMALL, "genotype=DARTS_V2", "space.cells=3", "validation=0.5")),
}


@pytest.mark.parametrize("name", CASES)
def test_graphs_do_not_change_a_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replays: list[Any] = []
    replay = torch.cuda.CUDAGraph.replay

    def count_and_replay(graph: torch.cuda.CUDAGraph) -> None:
        replays.append(graph)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", count_and_replay)
    command, overrides = CASES[name]
    train: Any = {"search": darts.search, "retrain": darts.retrain}[command]
    losses = []
    for graphs in ("off", "auto"):
        folder = tmp_path / graphs
        train(overrides=[*overrides, "device=cuda", f"graphs={graphs}"], out=folder)
        losses.append(json.loads((folder / "summary.json").read_text())["valid_loss"])
    assert replays
    # cuDNN may choose other algorithms, whose sums have another order.
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
