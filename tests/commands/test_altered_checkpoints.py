"""A checkpoint that does not fit its run is refused in one line, before any file changes."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch

from darts.training.checkpoint import load_checkpoint, save_checkpoint

DATA = ("dataset.samples=32", "loader.batch_size=8", "epochs=2", "save_minutes=0")
SIZE = ("space.channels=1", "space.cells=1")
RUNS = {
    "search": (*DATA, *SIZE, "collapse.every=1"),
    "retrain": (*DATA, *SIZE, "genotype=DARTS_V2", "validation=0.4", "cutout=0"),
}


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of runs that crashed in their second epoch."""
    folders = {name: tmp_path_factory.mktemp(name) / "run" for name in RUNS}
    for name, overrides in RUNS.items():
        commands.crash(3, partial(commands.run, name, folders[name], *overrides))
    return folders


@pytest.fixture
def altered(crashed: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Copies a crashed run and sets an entry of its checkpoint, given as a path of keys."""

    def make(command: str, keys: tuple[Any, ...], change: Callable[[Any], Any]) -> Path:
        folder = Path(shutil.copytree(crashed[command], tmp_path / "run"))
        content = load_checkpoint(folder / "checkpoint.safetensors")
        parent = content
        for key in keys[:-1]:
            parent = parent[key]
        parent[keys[-1]] = change(copy.deepcopy(parent[keys[-1]]))
        save_checkpoint(folder / "checkpoint.safetensors", command, content)
        return folder

    return make


def with_nan(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    first = next(iter(weights))
    return weights | {first: torch.full_like(weights[first], torch.nan)}


def with_other_channels(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "shape": (2, 5, 8, 8), "mean": None, "std": None}


CHANGES: list[tuple[str, tuple[Any, ...], Callable[[Any], Any], str]] = [
    ("search", ("epoch",), lambda _: -1, "epoch: Expected int >= 0"),
    ("search", ("config",), lambda _: None, "config: Expected object, got null"),
    ("search", ("searcher", "optimizer", "param_groups"), lambda _: [], "does not fit its run"),
    ("search", ("diagnosis", 0, "edges"), lambda _: 3, "diagnosis[0].edges: Expected object"),
    ("retrain", ("network_sizes", "classes"), lambda _: 10**9, "network_sizes differs"),
    ("retrain", ("averaging",), lambda _: {"average": {}, "active": True, "scores": []}, "another"),
    ("evaluate", ("best", "net"), with_nan, "the weights are not finite"),
    ("evaluate", ("best",), lambda _: {"epoch": 1}, "best: Object missing required field scores"),
    ("evaluate", ("network_sizes",), lambda _: {"words": 3}, "does not fit its run"),
    ("evaluate", ("config", "space", "channels"), lambda _: 10**5, "do not fit the network"),
    ("evaluate", ("config", "space", "cells"), lambda _: 10**9, "cells"),
    ("evaluate", ("config", "metric"), lambda _: "bleu", "metric='bleu'"),
    ("evaluate", ("config", "genotype"), lambda _: OTHER, "space=mlp"),
    ("evaluate", ("input_specs", 0, "shape"), lambda _: (2, 3, 10**6, 10**6), "input_specs[0].sh"),
    ("export", ("input_specs", 0), with_other_channels, "checkpoint.safetensors"),
]
OTHER = '{"space": "mlp", "layers": ["relu_16"]}'


@pytest.mark.parametrize(("command", "keys", "change", "message"), CHANGES)
def test_a_command_names_the_entry_that_does_not_fit(
    altered: Any, command: str, keys: Any, change: Any, message: str
) -> None:
    resumes = command in RUNS
    folder = altered(command if resumes else "retrain", keys, change)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    line = commands.error_of(command, f"{'resume' if resumes else 'checkpoint'}={folder}")
    assert message in line
    assert str(folder) in line or command == "evaluate"
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
