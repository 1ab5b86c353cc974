"""Resumed runs end bit for bit like unbroken ones; unusable runs are refused."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from darts.data import load_split, save_split
from darts.reading import read_json
from darts.searching.discretization import SupernetAdapter
from darts.training import loop
from darts.training.checkpoint import load_checkpoint

NO_TENSORBOARD = "tracking.tensorboard=false"
DATA = (
    *("dataset=synthetic", "dataset.samples=48", "loader.batch_size=8", "seed=7"),
    "tracking.figures=false",
)
# Drop path draws from the global generators, so a resumed run needs their states.
RUNS = {
    "search": (*DATA, "epochs=4", "space.channels=1", "space.cells=1"),
    "retrain": (*DATA, "epochs=6", "genotype=DARTS_V2", "drop_path=0.5", "ema_decay=0.9"),
}
STEPS = {"search": 3, "retrain": 4}  # per epoch: 24 and 38 images in batches of 8


@pytest.fixture(scope="module")
def unbroken(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs without an interruption, by command."""
    return {
        command: commands.run(
            command, tmp_path_factory.mktemp(command) / "run", NO_TENSORBOARD, *overrides
        )
        for command, overrides in RUNS.items()
    }


@pytest.fixture(scope="module")
def crashed(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Directories of the same runs, crashed in their second epoch."""
    folders = {}
    for command, overrides in RUNS.items():
        folders[command] = tmp_path_factory.mktemp(f"crashed_{command}") / "run"
        start = partial(
            commands.run, command, folders[command], NO_TENSORBOARD, "save_minutes=0", *overrides
        )
        commands.crash(STEPS[command] + 2, start)
    return folders


@pytest.fixture
def copy_crashed(crashed: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Copies the directory of a crashed run, which a test may change."""

    def make(command: str) -> Path:
        return Path(shutil.copytree(crashed[command], tmp_path / command))

    return make


def assert_same(commands: Any, done: Any, expected: Any) -> None:
    """Check that checkpoint, rows, genotype and scores are equal; costs may differ."""
    commands.assert_same_run(done, expected)
    ours, theirs = (run.directory / "genotype.json" for run in (done, expected))
    assert ours.read_bytes() == theirs.read_bytes()
    for key in ("valid_accuracy", "valid_loss", "test_accuracy", "test_loss", "epoch"):
        assert done.result.get(key) == expected.result.get(key)
    assert done.result["seconds"] > 0


@pytest.mark.parametrize("command", [pytest.param("search", marks=pytest.mark.slow), "retrain"])
def test_the_energy_of_a_resumed_run_includes_the_crashed_part(
    commands: Any, copy_crashed: Callable[[str], Path], command: str
) -> None:
    folder = copy_crashed(command)
    saved = load_checkpoint(folder / "checkpoint.safetensors")["energy"]["entries"]
    before = {entry["phase"]: entry for entry in saved}
    assert before["training"]["joules"] > 0
    done = commands.call(command, [f"resume={folder}"], folder)
    energy = read_json(folder / "energy.json")
    phases = {entry["phase"]: entry for entry in energy["phases"]}
    assert {"training", "validation"} <= phases.keys()
    assert ("test" in phases) == (command == "retrain")
    for name, entry in before.items():
        assert phases[name]["joules"] > entry["joules"]
        assert phases[name]["seconds"] > entry["seconds"]
    summary = read_json(folder / "summary.json")
    assert summary == done.result
    for key in ("seconds", "joules", "gco2e"):
        assert sum(entry[key] for entry in energy["phases"]) == pytest.approx(summary[key])
    assert summary["gco2e"] == pytest.approx(summary["joules"] / 3.6e6 * energy["gco2_per_kwh"])
    assert summary["joules_source"] == phases["training"]["source"]


def wait_for_saves(process: Any, file: Path, count: int) -> None:
    """Wait until a running command has written its checkpoint ``count`` times."""
    last = file.stat().st_ino if file.exists() else None
    deadline = time.monotonic() + 120
    while count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the command writes no checkpoint"
        time.sleep(0.002)
        if file.exists() and (now := file.stat().st_ino) != last:
            last, count = now, count - 1


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        pytest.param("search", signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param("retrain", signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_twice_and_then_interrupted_ends_like_an_unbroken_one(
    commands: Any, unbroken: Any, tmp_path: Path, command: str, number: int, code: int
) -> None:
    """SIGKILL comes at random moments; the last signal allows a checkpoint and a message."""
    folder = tmp_path / "run"
    file = folder / "checkpoint.safetensors"
    start = [*RUNS[command], NO_TENSORBOARD, f"hydra.run.dir={folder}"]
    resume = [f"resume={folder}"]
    # The second process saves only at the end of an epoch, so that it loses several steps.
    stages = [([*start, "save_minutes=0"], 2), ([*resume, "save_minutes=10"], 1)]
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for arguments, saves in stages:
        process = commands.start(command, *arguments)
        wait_for_saves(process, file, saves)
        time.sleep(moments.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"ended before the kill, seed {seed}"
        load_checkpoint(file, command)
    process = commands.start(command, *resume, "save_minutes=0")
    wait_for_saves(process, file, 1)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err == "\nstopping after this step; Ctrl-C again to abort\n"
    assert not (folder / "summary.json").exists()
    assert file.stat().st_size > 0
    arguments = commands.printed_arguments(out, command)
    assert arguments == [f"resume={folder}"]
    done = commands.call(command, arguments, folder)
    assert_same(commands, done, unbroken[command])


@pytest.mark.parametrize(
    ("command", "steps"),
    [
        pytest.param("search", 3, id="after the last step of an epoch"),
        pytest.param("retrain", 0, id="before the first checkpoint"),
    ],
)
def test_a_crash_between_epochs_or_before_a_checkpoint_can_be_resumed(
    commands: Any, unbroken: Any, tmp_path: Path, command: str, steps: int
) -> None:
    folder = tmp_path / "run"
    start = partial(commands.run, command, folder, NO_TENSORBOARD, "save_minutes=0", *RUNS[command])
    commands.crash(steps, start)
    assert (folder / "checkpoint.safetensors").exists() == (steps > 0)
    done = commands.call(command, [f"resume={folder}"], folder)
    assert_same(commands, done, unbroken[command])


def test_a_moved_run_directory_with_special_characters_can_be_resumed(
    commands: Any, crashed: Any, unbroken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "größer = besser (1)" / "it's"
    shutil.copytree(crashed["retrain"], folder)
    monkeypatch.chdir(folder.parent)
    done = commands.call("retrain", ["resume=it's"], folder)
    assert_same(commands, done, unbroken["retrain"])


def test_options_without_influence_on_the_result_may_change_on_resume(
    commands: Any, copy_crashed: Any, unbroken: Any
) -> None:
    folder = copy_crashed("retrain")
    changed = ["loader.workers=1", "tracking.energy.watts_per_core=20", "tracking.figures_every=0"]
    changed += ["dataset.root=elsewhere", "dataset.download=false", "save_minutes=1", "device=cpu"]
    done = commands.call("retrain", [f"resume={folder}", *changed, "name=other"], folder)
    assert_same(commands, done, unbroken["retrain"])


def test_tensorboard_shows_each_step_of_a_resumed_run_once(commands: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    overrides = ("genotype=DARTS_V2", "loader.batch_size=16", "epochs=3")
    # Three steps per epoch, and one checkpoint at the end of each.
    commands.crash(7, partial(commands.run, "retrain", folder, *overrides))
    done = commands.call("retrain", [f"resume={folder}"], folder)
    assert len(list(folder.glob("events*"))) == 1
    board = EventAccumulator(str(folder))
    board.Reload()
    assert [event.step for event in board.Scalars("loss/train")] == [3, 6, 9]
    assert [row["step"] for row in done.rows] == [3, 6, 9]


def test_a_damaged_checkpoint_is_refused(commands: Any, copy_crashed: Any) -> None:
    folder = copy_crashed("search")
    file = folder / "checkpoint.safetensors"
    content = file.read_bytes()
    commands.flip_bit(file)
    line = commands.error_of("search", f"resume={folder}")
    assert str(file) in line
    assert "damaged" in line
    file.write_bytes(content[: len(content) // 2])
    assert "damaged" in commands.error_of("search", f"resume={folder}")


def test_a_checkpoint_of_another_program_or_command_is_refused(
    commands: Any, copy_crashed: Any
) -> None:
    folder = copy_crashed("search")
    file = folder / "checkpoint.safetensors"
    file.write_text("not a checkpoint")
    assert str(file) in commands.error_of("search", f"resume={folder}")
    torch.save({"state_dict": {"w": torch.zeros(2)}}, file)
    assert "not a checkpoint of darts-nas" in commands.error_of("search", f"resume={folder}")
    torch.save(torch.nn.Linear(2, 2), file)  # a pickled object must not be unpickled
    assert str(file) in commands.error_of("search", f"resume={folder}")
    shutil.copy(copy_crashed("retrain") / "checkpoint.safetensors", file)
    line = commands.error_of("search", f"resume={folder}")
    assert "retrain" in line
    assert "search" in line


def test_a_run_of_another_command_is_refused(commands: Any, copy_crashed: Any) -> None:
    for command, other in (("search", "retrain"), ("retrain", "search")):
        folder = copy_crashed(command)
        line = commands.error_of(other, f"resume={folder}")
        assert str(folder) in line
        assert f"is a run of darts.{command}; resume it with that command" in line


@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("epochs=3", ("epochs is 4", "3 here")),
        ("optimizer.lr=0.5", ("optimizer.lr is 0.025", "0.5 here")),
        ("seed=8", ("seed is 7", "8 here")),
        ("dataset.samples=128", ("dataset.samples is 48", "128 here")),
        ("method=darts_v2", ("method is 'darts_v1'", "'darts_v2' here")),
        ("dataset=digits", ("dataset",)),
        ("space.channels=2", ("space.channels is 1", "2 here")),
        ("precision=bf16", ("precision is 'fp32'", "'bf16' here")),
        ("epochz=3", ("epochz", "did you mean 'epochs'")),
    ],
)
def test_a_changed_configuration_is_refused(
    commands: Any, copy_crashed: Any, override: str, messages: tuple[str, ...]
) -> None:
    folder = copy_crashed("search")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    line = commands.error_of("search", override, f"resume={folder}")
    for message in messages:
        assert message in line
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_changed_or_missing_split_file_is_refused(commands: Any, copy_crashed: Any) -> None:
    folder = copy_crashed("search")
    split = load_split(folder / "split.npz")
    save_split(folder / "split.npz", {name: indices.flip(0) for name, indices in split.items()})
    line = commands.error_of("search", f"resume={folder}")
    assert "split.npz was changed" in line
    assert str(folder) in line
    (folder / "split.npz").unlink()
    assert "split" in commands.error_of("search", f"resume={folder}")


def test_a_truncated_metrics_file_is_refused(commands: Any, copy_crashed: Any) -> None:
    folder = copy_crashed("search")
    (folder / "metrics.jsonl").write_text("")
    assert "metrics.jsonl" in commands.error_of("search", f"resume={folder}")


@pytest.mark.parametrize("command", RUNS)
def test_a_complete_run_is_refused(commands: Any, unbroken: Any, command: str) -> None:
    folder = unbroken[command].directory
    line = commands.error_of(command, f"resume={folder}")
    assert str(folder) in line
    assert "complete" in line


@pytest.mark.parametrize("command", RUNS)
def test_a_run_with_a_loss_that_is_not_finite_stops_with_an_error(
    commands: Any, tmp_path: Path, command: str
) -> None:
    folder = tmp_path / "run"
    overrides = [
        *RUNS[command],
        NO_TENSORBOARD,
        "optimizer.lr=1e30",
        "optimizer.clip=0",
        "save_minutes=0",
    ]
    line = commands.error_of(command, *overrides, f"hydra.run.dir={folder}")
    assert "loss became" in line
    assert "optimizer.lr" in line
    saved = load_checkpoint(folder / "checkpoint.safetensors", command)
    assert all(math.isfinite(total) for total in saved["means"]["sums"].values())
    assert not (folder / "summary.json").exists()


def test_a_second_ctrl_c_ends_the_run_at_once(
    commands: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The first Ctrl-C waits for the end of the step, the second does not."""
    overrides = [*RUNS["retrain"], NO_TENSORBOARD, f"hydra.run.dir={tmp_path / 'run'}"]
    original, sent = loop.require_finite, []

    def interrupt_twice(*arguments: Any) -> float:
        if not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)  # the handler runs here
        return float(original(*arguments))

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(loop, "require_finite", interrupt_twice)
    with pytest.raises(SystemExit) as caught:
        commands.call("retrain", overrides)
    assert caught.value.code == 130
    assert capfd.readouterr().err.splitlines()[1:] == [
        "stopping after this step; Ctrl-C again to abort",
        "darts.retrain: aborted by Ctrl-C",
    ]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_within_a_step_saves_a_checkpoint_after_the_step(
    commands: Any, unbroken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    original, steps = loop.require_finite, iter(range(5))

    def interrupt_in_fifth_step(*arguments: Any) -> float:
        if next(steps, None) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return float(original(*arguments))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "require_finite", interrupt_in_fifth_step)
        with pytest.raises(SystemExit) as exit_info:
            commands.run("search", folder, NO_TENSORBOARD, *RUNS["search"])
    assert exit_info.value.code == 143
    saved = load_checkpoint(folder / "checkpoint.safetensors", "search")
    assert (saved["epoch"], saved["step"]) == (1, 2)
    done = commands.call("search", [f"resume={folder}"], folder)
    assert_same(commands, done, unbroken["search"])


def test_an_interrupted_random_sampling_scores_no_architecture_twice(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends between two scores and continues with the next one."""
    small = (
        *DATA,
        "dataset.size=8",
        "epochs=1",
        "space=nas201",
        "space.channels=1",
        "space.cells=1",
        NO_TENSORBOARD,
    )
    few = ("method=random_sharing", "discretize.samples=4", "discretize.finalists=2")
    original, scored = SupernetAdapter.score, []

    def count_and_interrupt(*arguments: Any) -> float:
        scored.append(arguments)
        if len(scored) == 6 + 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(SupernetAdapter, "score", count_and_interrupt)
    unbroken_run = commands.run("search", tmp_path / "unbroken", *small, *few)
    assert len(scored) == 6
    folder = tmp_path / "run"
    with pytest.raises(SystemExit) as exit_info:
        commands.run("search", folder, *small, *few)
    assert exit_info.value.code == 143
    assert len(scored) == 6 + 3
    done = commands.call("search", [f"resume={folder}"], folder)
    assert len(scored) == 6 + 6
    assert_same(commands, done, unbroken_run)
