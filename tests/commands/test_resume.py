"""Resumed runs end like unbroken ones, and a checkpoint that does not fit is refused."""

from __future__ import annotations

import copy
import math
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch

from darts.data import load_split, save_split
from darts.reading import read_json
from darts.searching.discretization import SupernetAdapter
from darts.training.checkpoint import load_checkpoint, save_checkpoint

DATA = ("dataset.samples=48", "loader.batch_size=8", "seed=7")
# Drop path draws from the global generators, so a resumed run needs their states.
RUNS = {
    "search": (*DATA, "epochs=4", "space.channels=1", "space.cells=1"),
    "retrain": (*DATA, "epochs=4", "genotype=DARTS_V2", "drop_path=0.5", "average_power=2"),
}
STEPS = {"search": 3, "retrain": 4}  # per epoch: 24 and 38 images in batches of 8


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs without an interruption, by command."""
    return {
        command: commands.run(command, tmp_path_factory.mktemp(command) / "run", *overrides)
        for command, overrides in RUNS.items()
    }


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Directories of the same runs, crashed in their second epoch."""
    folders = {}
    for command, overrides in RUNS.items():
        folders[command] = tmp_path_factory.mktemp(f"crashed_{command}") / "run"
        start = partial(commands.run, command, folders[command], "save_minutes=0", *overrides)
        commands.crash(STEPS[command] + 2, start)
    return folders


@pytest.fixture
def copy_crashed(crashed: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Copies the directory of a crashed run, which a test may change."""

    def make(command: str) -> Path:
        return Path(shutil.copytree(crashed[command], tmp_path / command))

    return make


def test_the_energy_of_a_resumed_run_includes_the_crashed_part(copy_crashed: Any) -> None:
    folder = copy_crashed("retrain")
    saved = load_checkpoint(folder / "checkpoint.safetensors")["energy"]
    before = {entry["phase"]: entry for entry in saved}
    assert before["training"]["joules"] > 0
    done = commands.call("retrain", [f"resume={folder}"], folder)
    energy = read_json(folder / "energy.json")
    phases = {entry["phase"]: entry for entry in energy["phases"]}
    assert {"training", "validation", "test"} <= phases.keys()
    for name, entry in before.items():
        assert phases[name]["joules"] > entry["joules"]
        assert phases[name]["seconds"] > entry["seconds"]
    summary = read_json(folder / "summary.json")
    assert summary == done.result
    for key in ("seconds", "joules", "gco2e"):
        assert sum(entry[key] for entry in energy["phases"]) == pytest.approx(summary[key])
    assert summary["gco2e"] == pytest.approx(summary["joules"] / 3.6e6 * energy["gco2_per_kwh"])
    assert summary["joules_source"] == phases["training"]["source"]


def test_a_moved_run_with_other_options_without_influence_on_the_result_can_be_resumed(
    crashed: Any, unbroken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "größer = besser (1)" / "it's"
    shutil.copytree(crashed["retrain"], folder)
    monkeypatch.chdir(folder.parent)
    changed = ["loader.workers=1", "tracking.energy.watts_per_core=20", "tracking.figures_every=0"]
    changed += ["dataset.root=elsewhere", "dataset.download=false", "save_minutes=1", "device=cpu"]
    done = commands.call("retrain", ["resume=it's", *changed, "name=other"], folder)
    commands.assert_same_run(done, unbroken["retrain"])


def test_a_run_of_another_command_is_refused(copy_crashed: Any) -> None:
    for command, other in (("search", "retrain"), ("retrain", "search")):
        folder = copy_crashed(command)
        line = commands.error_of(other, f"resume={folder}")
        assert str(folder) in line
        assert f"is a run of darts {command}; resume it with that command" in line


def test_a_changed_or_missing_split_file_is_refused(copy_crashed: Any) -> None:
    folder = copy_crashed("search")
    split = load_split(folder / "split.npz")
    save_split(folder / "split.npz", {name: indices.flip(0) for name, indices in split.items()})
    line = commands.error_of("search", f"resume={folder}")
    assert "split.npz was changed" in line
    assert str(folder) in line
    (folder / "split.npz").unlink()
    assert "split" in commands.error_of("search", f"resume={folder}")


@pytest.mark.parametrize("command", RUNS)
def test_a_run_that_diverges_writes_its_reason_and_cost(tmp_path: Path, command: str) -> None:
    folder = tmp_path / "run"
    overrides = [*RUNS[command], "optimizer.lr=1e30", "optimizer.clip=0", "save_minutes=0"]
    overrides = [*commands.TINY[command], *overrides, f"hydra.run.dir={folder}"]
    line = commands.error_of(command, *overrides)
    assert "loss became" in line
    assert "optimizer.lr" in line
    record = read_json(folder / "diverged.json")
    assert record["reason"] in line
    assert record["seconds"] > 0
    assert record["joules"] >= 0
    assert record["joules_source"] != "none"
    saved = load_checkpoint(folder / "checkpoint.safetensors", command)
    assert all(math.isfinite(total) for total in saved["means"]["sums"].values())
    assert not (folder / "summary.json").exists()


def test_a_signal_within_a_step_saves_a_checkpoint_after_it(unbroken: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with commands.signal_in_step(5, signal.SIGTERM), pytest.raises(SystemExit, match="143"):
        commands.run("search", folder, *RUNS["search"])
    saved = load_checkpoint(folder / "checkpoint.safetensors", "search")
    assert (saved["epoch"], saved["step"]) == (1, 2)
    done = commands.call("search", [f"resume={folder}"], folder)
    commands.assert_same_run(done, unbroken["search"])


def test_an_interrupted_random_sampling_scores_no_architecture_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends between two scores and continues with the next one. It checks no collapse."""
    small = (*DATA, "epochs=1", "space=nas201", "space.channels=1", "space.cells=1")
    few = ("method=random_sharing", "discretize.samples=4", "discretize.finalists=2")
    few = (*few, "collapse.every=1")
    original, scored = SupernetAdapter.score, []

    def count_and_interrupt(*arguments: Any) -> float:
        scored.append(arguments)
        if len(scored) == 6 + 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(SupernetAdapter, "score", count_and_interrupt)
    unbroken_run = commands.run("search", tmp_path / "unbroken", *small, *few)
    assert len(scored) == 6
    assert not [name for name in unbroken_run.result if name.startswith("collapse")]
    folder = tmp_path / "run"
    with pytest.raises(SystemExit, match=r"^143$"):
        commands.run("search", folder, *small, *few)
    assert len(scored) == 6 + 3
    done = commands.call("search", [f"resume={folder}"], folder)
    assert len(scored) == 6 + 6
    commands.assert_same_run(done, unbroken_run)


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        pytest.param("p_darts", 5, marks=pytest.mark.slow),  # within the third stage
        ("drnas", 4),  # between both stages: the resumed search widens the weights
        ("sandwich", 3),
    ],
)
def test_a_killed_search_in_stages_resumes_exactly(tmp_path: Path, method: str, steps: int) -> None:
    """The crash loses the current step; there are two steps per epoch."""
    data = ("dataset=synthetic", "dataset.samples=64", "loader.batch_size=16", "epochs=3")
    small = ("space=nas201", "space.channels=4", "space.cells=1", f"method={method}")
    if method == "sandwich":  # has one stage, but several networks per step
        small = (*small[1:], "space=elastic", "discretize.samples=4")
    commands.assert_resume_is_exact("search", [*data, *small, *commands.QUIET], tmp_path, steps)


@pytest.mark.parametrize("command", ["retrain", pytest.param("search", marks=pytest.mark.slow)])
def test_a_run_killed_in_an_epoch_that_diverges_resumes_exactly(
    tmp_path: Path, command: str
) -> None:
    """The epoch is repeated from its beginning, although the run was resumed within it."""
    data = ("dataset=synthetic", "dataset.samples=64", "loader.batch_size=8", "epochs=2")
    words = (*data, "space=mlp", "space.widths=[64]", "optimizer.lr=30", "optimizer.clip=0")
    if command == "retrain":
        words += ('genotype={"space": "mlp", "layers": ["relu_64"]}', "optimizer.warmup_epochs=0")
    commands.assert_resume_is_exact(command, [*words, *commands.QUIET], tmp_path, 3)
    saved = load_checkpoint(tmp_path / "unbroken" / "checkpoint.safetensors", command)
    assert saved["restarts"] > 0


SHORT = ("dataset.samples=32", "loader.batch_size=8", "epochs=2", "save_minutes=0")
SIZE = ("space.channels=1", "space.cells=1")
ALTERED = {
    "search": (*SHORT, *SIZE, "collapse.every=1"),
    "retrain": (*SHORT, *SIZE, "genotype=DARTS_V2", "validation=0.4", "cutout=0"),
}


@pytest.fixture(scope="module")
def crashed_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of runs that crashed in their second epoch."""
    folders = {name: tmp_path_factory.mktemp(name) / "run" for name in ALTERED}
    for name, overrides in ALTERED.items():
        commands.crash(3, partial(commands.run, name, folders[name], *overrides))
    return folders


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
    ("retrain", ("averaging",), lambda _: NO_MEAN, "another"),
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
NO_MEAN = {"average": {}, "count": 0, "active": True, "scores": []}
OTHER = '{"space": "mlp", "layers": ["relu_16"]}'


@pytest.mark.parametrize(("command", "keys", "change", "message"), CHANGES)
def test_a_command_names_the_entry_that_does_not_fit(
    crashed_runs: Any, command: str, keys: Any, change: Any, message: str, tmp_path: Path
) -> None:
    """An entry of the checkpoint has been changed; ``keys`` are its path."""
    resumes = command in ALTERED
    kind = command if resumes else "retrain"
    folder = Path(shutil.copytree(crashed_runs[kind], tmp_path / "run"))
    content = load_checkpoint(folder / "checkpoint.safetensors")
    parent = content
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = change(copy.deepcopy(parent[keys[-1]]))
    save_checkpoint(folder / "checkpoint.safetensors", kind, content)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    line = commands.error_of(command, f"{'resume' if resumes else 'checkpoint'}={folder}")
    assert message in line
    assert str(folder) in line or command == "evaluate"
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
