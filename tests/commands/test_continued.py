"""Retrainings that are continued, that end after a time, or that begin from another one."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import command_calls as commands
import pytest
import torch
from end_states import identical

import darts.recipes.retrain as retrain_recipe
from darts.config import RetrainConfig, WeightOptimizerConfig
from darts.recipes.retrain import Retraining
from darts.training.checkpoint import load_checkpoint, save_checkpoint

GENOTYPE = (
    'genotype={"space": "macro", "blocks": '
    '["conv_3x3", "res_3x3", "conv_3x3", "convnext_k7", "conv_3x3", "skip_connect"]}'
)
SMALL = (
    *(GENOTYPE, "space=macro", "space.skeleton=fast", "space.channels=2"),
    *("dataset=synthetic", "dataset.samples=48", "loader.batch_size=8", "seed=7"),
    *("auxiliary=0", "drop_path=0"),
    *("optimizer.schedule=stable", "optimizer.warmup_epochs=1", "average_power=4"),
)
Unbroken = Callable[[str], Any]
STEPS = 5  # per epoch: 38 images in batches of 8


def run(folder: Path, *overrides: str) -> Any:
    return commands.run("retrain", folder, *SMALL, *overrides)


def resume(folder: Path, *overrides: str) -> Any:
    return commands.call("retrain", [f"resume={folder}", *overrides], folder)


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("two") / "run"
    run(folder, "epochs=2")
    return folder


@pytest.fixture
def copied(two_epochs: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may continue."""
    return Path(shutil.copytree(two_epochs, tmp_path / "two"))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    """Returns a retraining of four epochs with a ``cooldown``."""

    @cache
    def get(decay: str) -> Any:
        folder = tmp_path_factory.mktemp("four") / "run"
        return run(folder, "epochs=4", f"optimizer.cooldown={decay}")

    return get


@pytest.mark.parametrize("decay", ["0", "0.25"])
def test_two_and_two_epochs_equal_four(copied: Path, unbroken: Unbroken, decay: str) -> None:
    continued = resume(copied, "epochs=4", f"optimizer.cooldown={decay}")
    commands.assert_same_run(continued, unbroken(decay))
    assert [row["epoch"] for row in continued.rows] == [1, 2, 3, 4]
    assert steps_of(continued) == 4 * STEPS
    # A later continuation may leave the first one out, unless the rate has fallen.
    if decay == "0":
        assert resume(copied, "epochs=5").result["epochs"] == 5
    else:
        assert "is complete" in commands.error_of("retrain", f"resume={copied}", "epochs=5")


def test_the_batch_norms_of_averaged_weights_have_statistics_of_one_pass(two_epochs: Path) -> None:
    saved = load_checkpoint(two_epochs / "checkpoint.safetensors", "retrain")
    counts = [
        {int(value) for name, value in net.items() if name.endswith("num_batches_tracked")}
        for net in (saved["net"], saved["best"]["net"])
    ]
    assert counts == [{2 * STEPS}, {STEPS}]


@pytest.mark.parametrize(
    ("decay", "repeats", "steps"),
    [("0", False, 2), ("0", True, STEPS + 2), ("0.25", False, STEPS + 2)],
)
def test_a_killed_continuation_can_be_resumed_with_and_without_its_length(
    copied: Path, unbroken: Unbroken, decay: str, repeats: bool, steps: int
) -> None:
    length = ["epochs=4", f"optimizer.cooldown={decay}"]
    commands.crash(steps, partial(resume, copied, *length, "save_minutes=0"))
    assert not (copied / "summary.json").exists()
    done = resume(copied, *(length if repeats else []))
    commands.assert_same_run(done, unbroken(decay))


def test_a_continuation_killed_before_its_first_checkpoint_can_be_resumed(
    copied: Path, unbroken: Unbroken
) -> None:
    before = (copied / "checkpoint.safetensors").read_bytes()
    commands.crash(0, partial(resume, copied, "epochs=4"))
    assert (copied / "checkpoint.safetensors").read_bytes() == before
    assert resume(copied).result["epochs"] == 2  # nothing of it was saved
    commands.assert_same_run(resume(copied, "epochs=4"), unbroken("0"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "is complete"),
        (["epochs=1"], "is complete"),
        (["epochs=4", "optimizer.schedule=cosine"], "optimizer.schedule is 'stable'"),
        (["epochs=4", "optimizer.lr=0.2"], "optimizer.lr is"),
        (["epochs=4", "average_power=2"], "average_power is 4"),
    ],
)
def test_other_changes_of_a_complete_retraining_are_refused(
    two_epochs: Path, overrides: list[str], message: str
) -> None:
    before = {file: file.read_bytes() for file in two_epochs.iterdir()}
    assert message in commands.error_of("retrain", f"resume={two_epochs}", *overrides)
    assert {file: file.read_bytes() for file in two_epochs.iterdir()} == before


def test_other_schedules_cannot_be_continued(tmp_path: Path) -> None:
    run(tmp_path, "epochs=1", "optimizer.schedule=cosine")
    line = commands.error_of("retrain", f"resume={tmp_path}", "epochs=2")
    assert "is complete" in line
    assert "optimizer.schedule=stable" in line


@pytest.mark.parametrize(
    ("begun", "saved", "given", "expected"),
    [
        (10.0, 20.0, 10.0, 20.0),  # given again as in config.yaml: the last continuation counts
        (10.0, 20.0, 30.0, 30.0),
        (10.0, None, 10.0, None),
        (None, 20.0, None, 20.0),
        (10.0, 20.0, None, None),
    ],
)
def test_a_resumed_run_has_the_last_time_limit(
    begun: float | None, saved: float | None, given: float | None, expected: float | None
) -> None:
    def values(seconds: float | None) -> dict[str, Any]:
        optimizer = {"schedule": "stable", "cooldown": 0.0}
        return {"epochs": 9, "max_seconds": seconds, "optimizer": optimizer}

    own = WeightOptimizerConfig(schedule="stable")
    config = RetrainConfig(genotype="DARTS_V2", epochs=9, max_seconds=given, optimizer=own)
    assert config.resumed(values(begun), values(saved)).max_seconds == expected


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock for time limits that advances by 100 seconds with each look at it."""
    looks = iter(range(10**6))
    fake = SimpleNamespace(monotonic=lambda: 100.0 * next(looks))
    monkeypatch.setattr(retrain_recipe, "time", fake)


def steps_of(done: Any) -> int:
    return int(done.checkpoint["averaging"]["count"])


@pytest.mark.usefixtures("clock")
def test_a_time_limit_ends_the_run_within_an_epoch(tmp_path: Path) -> None:
    """One look follows each step, another one each epoch but the last."""
    done = run(tmp_path, "epochs=1000", "max_seconds=850")
    assert steps_of(done) == STEPS + 3
    assert done.result["epochs"] == 2
    assert [row["epoch"] for row in done.rows] == [1, 2]
    assert (done.checkpoint["epoch"], done.checkpoint["step"]) == (2, 0)
    assert done.result["test_accuracy"] >= 0
    assert "is complete" in commands.error_of("retrain", f"resume={tmp_path}", "max_seconds=850")
    longer = resume(tmp_path, "max_seconds=1250")
    assert [row["epoch"] for row in longer.rows] == [1, 2, 3, 4]
    assert steps_of(longer) == STEPS + 3 + 2 * STEPS  # the first part took almost no real time


def test_the_rate_decays_only_while_the_network_does_not_memorize(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([False, True, False, False])
    monkeypatch.setattr("darts.recipes.retrain.memorizes", lambda row: next(found))
    done = run(tmp_path, "epochs=4", f"optimizer.timescale={STEPS}", "optimizer.lr=0.1")
    assert [row["lr"] for row in done.rows[1:]] == pytest.approx([0.1 / n**0.5 for n in (2, 2, 3)])


@pytest.mark.usefixtures("clock")
def test_the_rate_falls_until_the_time_limit(tmp_path: Path) -> None:
    words = ("epochs=1000", f"max_seconds={100 * 4 * STEPS}", "optimizer.cooldown=0.5")
    done = run(tmp_path, *words)
    rates = [row["lr"] for row in done.rows]
    assert rates[1:] == sorted(rates[1:], reverse=True)  # the rate rises in the first epoch
    assert rates[-1] < 0.3 * rates[0]
    assert "is complete" in commands.error_of("retrain", f"resume={tmp_path}", "max_seconds=9999")


@pytest.mark.usefixtures("clock")
def test_a_run_takes_at_least_one_step(tmp_path: Path) -> None:
    done = run(tmp_path, "epochs=3", "max_seconds=0.001")
    assert (steps_of(done), done.result["epochs"], done.result["epoch"]) == (1, 1, 1)


@pytest.mark.parametrize("epoch", ["last", "best"])
def test_a_retraining_begins_with_the_state_of_another_one(
    two_epochs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: str
) -> None:
    initial: list[dict[str, Any]] = []
    begin = Retraining.begin

    def record(self: Retraining, name: str) -> None:
        initial.append(copy.deepcopy(self.state.state_dict()))
        begin(self, name)

    monkeypatch.setattr(Retraining, "begin", record)
    start = Path(shutil.copytree(two_epochs, tmp_path / "start"))
    saved = load_checkpoint(start / "checkpoint.safetensors")
    words = (f"start={start}", f"start_epoch={epoch}")
    folder, options = tmp_path / "run", (*words, "epochs=2", "seed=8", "save_minutes=0")
    commands.crash(2, partial(run, folder, *options))
    save_checkpoint(tmp_path / "initial", "retrain", initial[0])
    begun = load_checkpoint(tmp_path / "initial")
    assert identical(begun["optimizer"], saved["optimizer"])
    net = saved["net"] if epoch == "last" else saved["best"]["net"]
    assert identical(begun["net"], net)
    averages = (begun["averaging"], saved["averaging"])
    assert identical(*averages) == (epoch == "last")  # a new average has no steps yet
    assert (begun["epoch"], begun["best"]) == (0, None)
    assert begun["slow_steps"] == saved["slow_steps"]
    shutil.rmtree(start)  # a resumed run does not need it
    done = resume(folder)
    assert done.result["epochs"] == 2
    assert steps_of(done) == (4 if epoch == "last" else 2) * STEPS


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["space.channels=3"], "size mismatch for blocks"),
        (["average_power=0"], "averaging"),
        (["optimizer.algorithm=adam"], "optimizer is the state of an optimizer of another kind"),
    ],
)
def test_a_wrong_start_is_refused(two_epochs: Path, overrides: list[str], message: str) -> None:
    line = commands.error_of("retrain", *SMALL, *overrides, f"start={two_epochs}")
    assert str(two_epochs / "checkpoint.safetensors") in line
    assert message in line


SHAPED = 'genotype={"space": "macro", "blocks": %s, "shape": {"widths": %s}}'
LARGER = SHAPED % ('[["conv_3x3", "res_3x3"], ["conv_5x5"], ["conv_3x3+3x3_d2"]]', "[3, 4, 6]")


def test_a_larger_network_inherits_weights_and_is_resumed_exactly(tmp_path: Path) -> None:
    smaller = SHAPED % ('["conv_3x3", "conv_3x3", "conv_3x3"]', "[2, 4, 4]")
    parent = run(tmp_path / "parent", smaller, "epochs=2")
    slow = ("optimizer.lr=1e-9", "optimizer.warmup_epochs=0", "optimizer.weight_decay=0")
    start = ("start=" + str(parent.directory), *slow)
    unbroken = run(tmp_path / "child", LARGER, *start, "epochs=2")
    saved, own = (
        load_checkpoint(folder.directory / "checkpoint.safetensors")["net"]
        for folder in (parent, unbroken)
    )
    inherited = own["blocks.2.0.weight"]  # the first of stage 2, whose inputs and kernel grew
    assert inherited.shape == (4, 3, 5, 5)
    torch.testing.assert_close(
        inherited[:, :2, 1:-1, 1:-1], saved["blocks.1.0.weight"], rtol=0, atol=1e-6
    )
    assert inherited.abs().sum((0, 2, 3))[2] < 1e-4  # the new channel is not read yet
    assert own["blocks.1.layers.1.weight"].abs().max() < 1e-4  # the new block is the identity
    run(tmp_path / "broken", LARGER, *start, "epochs=1")
    commands.assert_same_run(resume(tmp_path / "broken", "epochs=2"), unbroken)


def test_networks_without_a_shape_inherit_nothing(two_epochs: Path) -> None:
    line = commands.error_of("retrain", *SMALL, LARGER, f"start={two_epochs}")
    assert "networks of space=macro inherit no weights from other genotypes" in line
