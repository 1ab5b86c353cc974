"""Killed, stopped and resumed runs end bit for bit like unbroken ones; others are refused."""

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

import darts.recipes.search as search_recipe
from darts.data import load_split, save_split
from darts.methods.discretization_sampling import Sampling
from darts.tracking import read_json
from darts.training import loop
from darts.training.checkpoint import load_checkpoint

QUIET = "tracking.tensorboard=false"
DATA = ("dataset=synthetic", "dataset.samples=48", "loader.batch_size=8", "seed=7")
# Drop path draws from the global generators, so a resumed run needs their states.
RUNS = {
    "search": (*DATA, "epochs=4", "space.channels=1", "space.cells=1"),
    "retrain": (*DATA, "epochs=6", "genotype=DARTS_V2", "drop_path=0.5", "ema_decay=0.9"),
}
STEPS = {"search": 3, "retrain": 4}  # an epoch: 24 and 38 images in batches of 8

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def unbroken(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The runs that the others must equal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_recipe, "save_search_figures", lambda *_, **__: None)
        return {
            command: commands.run(command, tmp_path_factory.mktemp(command) / "run", QUIET, *given)
            for command, given in RUNS.items()
        }


@pytest.fixture(scope="module")
def broken(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same runs, crashed within their second epoch."""
    folders = {}
    for command, given in RUNS.items():
        folders[command] = tmp_path_factory.mktemp(f"broken_{command}") / "run"
        start = partial(commands.run, command, folders[command], QUIET, "save_minutes=0", *given)
        commands.crash(command, STEPS[command] + 2, start)
    return folders


@pytest.fixture
def copy(broken: Any, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a crashed run, to be resumed or spoilt."""

    def make(command: str) -> Path:
        return Path(shutil.copytree(broken[command], tmp_path / command))

    return make


def assert_same(commands: Any, done: Any, expected: Any) -> None:
    """Final checkpoint, genotype and rows are those of the unbroken run, but for the costs."""
    ours, theirs = done.checkpoint, expected.checkpoint
    assert ours.keys() == theirs.keys()
    for key in ours.keys() - {"energy", "config", "metrics_offset"}:
        assert commands.same(ours[key], theirs[key]), f"{key} differs"
    assert commands.steps(done) == commands.steps(expected)
    ours, theirs = (run.directory / "genotype.json" for run in (done, expected))
    assert ours.read_bytes() == theirs.read_bytes()
    for key in ("valid_accuracy", "valid_loss", "test_accuracy", "test_loss", "epoch"):
        assert done.result.get(key) == expected.result.get(key)
    assert done.result["seconds"] > 0


@pytest.mark.parametrize("command", ["search", "retrain"])
def test_the_bill_adds_up_through_a_crash(
    commands: Any, copy: Callable[[str], Path], command: str
) -> None:
    folder = copy(command)
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)["energy"]["entries"]
    before = {entry["phase"]: entry for entry in saved}
    assert before["training"]["joules"] > 0
    done = commands.exactly(command, [f"resume={folder}"], folder)
    bill = read_json(folder / "energy.json")
    phases = {entry["phase"]: entry for entry in bill["phases"]}
    assert {"training", "validation"} <= phases.keys()
    assert ("test" in phases) == (command == "retrain")
    for name, entry in before.items():
        assert phases[name]["joules"] > entry["joules"]
        assert phases[name]["seconds"] > entry["seconds"]
    summary = read_json(folder / "summary.json")
    assert summary == done.result
    for key in ("seconds", "joules", "gco2e"):
        assert sum(entry[key] for entry in bill["phases"]) == pytest.approx(summary[key])
    assert summary["gco2e"] == pytest.approx(summary["joules"] / 3.6e6 * bill["gco2_per_kwh"])
    assert summary["joules_source"] == phases["training"]["source"]


def wait_for_saves(process: Any, file: Path, count: int) -> None:
    """Until a running command has written its checkpoint so many times."""
    last = file.stat().st_ino if file.exists() else None
    until = time.monotonic() + 120
    while count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "the command saves nothing"
        time.sleep(0.002)
        if file.exists() and (now := file.stat().st_ino) != last:
            last, count = now, count - 1


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        ("search", signal.SIGTERM, 143),
        pytest.param("retrain", signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_killed_twice_then_stopped(
    commands: Any, unbroken: Any, tmp_path: Path, command: str, number: int, code: int
) -> None:
    """By SIGKILL at random moments, then by a signal that lets it save and say how to go on."""
    folder = tmp_path / "run"
    file = folder / "checkpoint.pt"
    begin = [*RUNS[command], QUIET, f"hydra.run.dir={folder}"]
    resume = [f"resume={folder}"]
    # The second process saves at the end of an epoch only, so that it loses more than a step.
    stages = [([*begin, "save_minutes=0"], 2), ([*resume, "save_minutes=10"], 1)]
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for arguments, saves in stages:
        process = commands.start(command, *arguments)
        wait_for_saves(process, file, saves)
        time.sleep(moments.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"it was over before the kill, seed {seed}"
        load_checkpoint(file, command)
    process = commands.start(command, *resume, "save_minutes=0")
    wait_for_saves(process, file, 1)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (code, "")
    assert not (folder / "summary.json").exists()
    assert file.stat().st_size > 0
    arguments = commands.printed(out, command)
    assert arguments == [f"resume={folder}"]
    done = commands.exactly(command, arguments, folder)
    assert_same(commands, done, unbroken[command])


@pytest.mark.parametrize(("command", "steps"), [("search", 3), ("retrain", 0)])
def test_crashed_at_an_edge(
    commands: Any, unbroken: Any, tmp_path: Path, command: str, steps: int
) -> None:
    """Right at the end of an epoch, and before anything was saved."""
    folder = tmp_path / "run"
    start = partial(commands.run, command, folder, QUIET, "save_minutes=0", *RUNS[command])
    commands.crash(command, steps, start)
    assert (folder / "checkpoint.pt").exists() == (steps > 0)
    done = commands.exactly(command, [f"resume={folder}"], folder)
    assert_same(commands, done, unbroken[command])


def test_resumed_from_elsewhere_by_a_place_that_needs_quotes(
    commands: Any, broken: Any, unbroken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "größer = besser (1)" / "it's"
    shutil.copytree(broken["retrain"], folder)
    monkeypatch.chdir(folder.parent)
    done = commands.exactly("retrain", ["resume=it's"], folder)
    assert_same(commands, done, unbroken["retrain"])


def test_a_second_crash_is_resumed_too(commands: Any, copy: Any, unbroken: Any) -> None:
    folder = copy("retrain")
    again = partial(commands.exactly, "retrain", [f"resume={folder}", "save_minutes=0"])
    for steps in (1, 7):
        commands.crash("retrain", steps, again)
    done = commands.exactly("retrain", [f"resume={folder}"], folder)
    assert_same(commands, done, unbroken["retrain"])
    assert done.json("overrides.json")["command"] == "retrain"


def test_settings_that_may_change(commands: Any, copy: Any, unbroken: Any) -> None:
    folder = copy("retrain")
    changed = ["loader.workers=1", "tracking.energy.watts_per_core=20", "tracking.figures_every=0"]
    changed += ["dataset.root=elsewhere", "dataset.download=false", "save_minutes=1", "device=cpu"]
    done = commands.exactly("retrain", [f"resume={folder}", *changed, "name=other"], folder)
    assert_same(commands, done, unbroken["retrain"])


def test_tensorboard_shows_each_step_once(commands: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given = ("genotype=DARTS_V2", "loader.batch_size=16", "epochs=3")
    # Three steps an epoch, saved at their ends.
    commands.crash("retrain", 7, partial(commands.run, "retrain", folder, *given))
    done = commands.exactly("retrain", [f"resume={folder}"], folder)
    assert len(list(folder.glob("events*"))) == 2
    board = EventAccumulator(str(folder))
    board.Reload()
    assert [event.step for event in board.Scalars("loss/train")] == [3, 6, 9]
    assert [row["step"] for row in done.rows] == [3, 6, 9]


def test_a_damaged_checkpoint(commands: Any, copy: Any) -> None:
    folder = copy("search")
    file = folder / "checkpoint.pt"
    whole = file.read_bytes()
    commands.flip_a_bit(file)
    line = commands.refused("search", f"resume={folder}")
    assert str(file) in line
    assert "damaged" in line
    file.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in commands.refused("search", f"resume={folder}")


def test_a_foreign_checkpoint(commands: Any, copy: Any, tmp_path: Path) -> None:
    folder = copy("search")
    file = folder / "checkpoint.pt"
    file.write_text("not a checkpoint")
    assert str(file) in commands.refused("search", f"resume={folder}")
    torch.save({"state_dict": {"w": torch.zeros(2)}}, file)
    assert "not a checkpoint of darts-nas" in commands.refused("search", f"resume={folder}")
    torch.save(torch.nn.Linear(2, 2), file)  # a pickled object, which must not be built
    assert str(file) in commands.refused("search", f"resume={folder}")
    shutil.copy(copy("retrain") / "checkpoint.pt", file)
    line = commands.refused("search", f"resume={folder}")
    assert "retrain" in line
    assert "search" in line


def test_a_run_of_another_command(commands: Any, copy: Any) -> None:
    for command, other in (("search", "retrain"), ("retrain", "search")):
        folder = copy(command)
        line = commands.refused(other, f"resume={folder}")
        assert str(folder) in line
        assert f"run of {command}, not of {other}" in line


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("epochs=3", ("epochs is 4", "3 here")),
        ("optimizer.lr=0.5", ("optimizer.lr is 0.025", "0.5 here")),
        ("seed=8", ("seed is 7", "8 here")),
        ("dataset.samples=128", ("dataset.samples is 48", "128 here")),
        ("method=darts_v2", ("method is 'darts_v1'", "'darts_v2' here", "more keys")),
        ("dataset=digits", ("dataset",)),
        ("space.channels=2", ("space.channels is 1", "2 here")),
        ("precision=bf16", ("precision is 'fp32'", "'bf16' here")),
        ("epochz=3", ("epochz", "did you mean 'epochs'")),
    ],
)
def test_a_changed_configuration(
    commands: Any, copy: Any, override: str, named: tuple[str, ...]
) -> None:
    folder = copy("search")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    line = commands.refused("search", override, f"resume={folder}")
    for part in named:
        assert part in line
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_changed_genotype(commands: Any, copy: Any) -> None:
    line = commands.refused("retrain", f"resume={copy('retrain')}", "genotype=SGAS")
    assert "genotype is" in line


def test_a_changed_data_set(commands: Any, copy: Any) -> None:
    folder = copy("search")
    split = load_split(folder / "split.npz")
    save_split(folder / "split.npz", {name: part.flip(0) for name, part in split.items()})
    line = commands.refused("search", f"resume={folder}")
    assert "data set" in line
    assert str(folder) in line
    (folder / "split.npz").unlink()
    assert "split" in commands.refused("search", f"resume={folder}")


def test_rows_that_are_gone(commands: Any, copy: Any) -> None:
    folder = copy("search")
    (folder / "metrics.jsonl").write_text("")
    assert "metrics.jsonl" in commands.refused("search", f"resume={folder}")


@pytest.mark.parametrize("command", RUNS)
def test_a_completed_run(commands: Any, unbroken: Any, command: str) -> None:
    folder = unbroken[command].directory
    line = commands.refused(command, f"resume={folder}")
    assert str(folder) in line
    assert "complete" in line


@pytest.mark.parametrize("command", RUNS)
def test_a_loss_that_is_no_number(commands: Any, tmp_path: Path, command: str) -> None:
    folder = tmp_path / "run"
    given = [*RUNS[command], QUIET, "optimizer.lr=1e30", "optimizer.clip=0", "save_minutes=0"]
    line = commands.refused(command, *given, f"hydra.run.dir={folder}")
    assert "loss became" in line
    assert "optimizer.lr" in line
    kept = load_checkpoint(folder / "checkpoint.pt", command)
    assert math.isfinite(kept["means"]["sums"].get("loss", 0.0))
    assert not (folder / "summary.json").exists()


def test_a_second_interrupt_ends_at_once(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving is a courtesy: the first Ctrl-C waits for the step, the second does not."""
    given = [*RUNS["retrain"], QUIET, f"hydra.run.dir={tmp_path / 'run'}"]
    real, sent = loop.require_finite, []

    def impatient(*arguments: Any) -> float:
        if not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)  # the handler runs here
        return float(real(*arguments))

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(loop, "require_finite", impatient)
    with pytest.raises(KeyboardInterrupt):
        commands.exactly("retrain", given)
    assert signal.getsignal(signal.SIGINT) is before


def test_stopped_in_this_process(
    commands: Any, unbroken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal within a step: the step ends, the run is saved and left with its code."""
    folder = tmp_path / "run"
    real, steps = loop.require_finite, iter(range(5))

    def interrupted(*arguments: Any) -> float:
        if next(steps, None) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return float(real(*arguments))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "require_finite", interrupted)
        with pytest.raises(SystemExit) as left:
            commands.run("search", folder, QUIET, *RUNS["search"])
    assert left.value.code == 143
    saved = load_checkpoint(folder / "checkpoint.pt", "search")
    assert (saved["epoch"], saved["step"]) == (1, 2)
    assert_same(
        commands, commands.exactly("search", [f"resume={folder}"], folder), unbroken["search"]
    )


def test_stopped_while_random_architectures_are_scored(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal is obeyed between two of them, and none is scored again."""
    small = (
        *DATA,
        "dataset.size=8",
        "epochs=1",
        "space=nas201",
        "space.channels=1",
        "space.cells=1",
        QUIET,
    )
    few = ("method=random_sharing", "discretize.samples=4", "discretize.finalists=2")
    real, scored = Sampling._score, []

    def counted(*given: Any) -> float:
        scored.append(given)
        if len(scored) == 6 + 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*given)

    monkeypatch.setattr(Sampling, "_score", counted)
    whole = commands.run("search", tmp_path / "whole", *small, *few)
    assert len(scored) == 6
    folder = tmp_path / "run"
    with pytest.raises(SystemExit) as left:
        commands.run("search", folder, *small, *few)
    assert left.value.code == 143
    assert len(scored) == 6 + 3
    done = commands.exactly("search", [f"resume={folder}"], folder)
    assert len(scored) == 6 + 6
    assert_same(commands, done, whole)
