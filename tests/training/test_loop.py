"""The training loop calls a recipe in order and saves checkpoints; signals are recorded."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_loader import FakeLoader

from darts.config import Invocation, RetrainConfig, compose
from darts.tracking import read_metrics
from darts.training.checkpoint import load_checkpoint
from darts.training.distributed import Ranks
from darts.training.interrupt import Interrupt
from darts.training.loop import EpochReport, Recipe, StepReport, TrainingLoop
from darts.training.restarts import LowerRateRestarts
from darts.training.run import TrainingRun
from darts.training.state import TrainState

STEPS = 2  # per epoch


class FakeRecipe(Recipe):
    """A recipe that records its calls, and the progress of the checkpoint at each call.

    ``on_step`` gets epoch and step and returns the loss; after ``last_epoch``, it is finished.
    """

    def __init__(
        self,
        path: Path,
        *overrides: str,
        on_step: Callable[[int, int], float] = lambda epoch, step: 1.0,
        last_epoch: int | None = None,
    ) -> None:
        common = ("dataset=synthetic", "genotype=DARTS_V2", "tracking.tensorboard=false")
        self.config: RetrainConfig = compose("retrain", [*common, *overrides])
        self.run = TrainingRun("retrain", Invocation(path, ()), self.config, ranks=Ranks("cpu"))
        loader: Any = FakeLoader(STEPS)
        self.state = TrainState(train_loader=loader)
        self.restarts = LowerRateRestarts(self.state, 0, list)
        self.on_step, self.last_epoch = on_step, last_epoch
        self.calls: list[str] = []
        self.saved_progress: dict[str, tuple[int, int]] = {}
        self.run.begin({"train": torch.arange(4)})
        if self.run.saved is not None:
            self.state.load_state_dict(self.run.saved)

    @property
    def finished(self) -> bool:
        return self.last_epoch is not None and self.state.epoch > self.last_epoch

    def record(self, call: str) -> None:
        self.calls.append(call)
        if self.run.checkpoint.exists():
            saved = load_checkpoint(self.run.checkpoint)
            self.saved_progress[call] = (saved["epoch"], saved["step"])

    def begin_epoch(self, epoch: int) -> None:
        self.record(f"begin {epoch}")

    def train_step(self, batch: Any) -> StepReport:
        epoch, step = batch
        self.record(f"step {epoch} {step}")
        loss = torch.tensor(self.on_step(epoch, step))
        norms = {"grad_norm": torch.tensor(2.0)}
        return StepReport(1 + 2 * step, {"loss": loss, "accuracy": torch.tensor(0.5)}, norms)

    def end_epoch(self, epoch: int) -> EpochReport:
        self.record(f"end {epoch}")
        self.state.scores = {"accuracy": 0.25 * (epoch + 1)}
        return EpochReport(lr=0.1, row={"extra": epoch}, warnings=[f"warning of epoch {epoch}"])

    def write_epoch(self, epoch: int) -> None:
        self.record(f"write {epoch}")


def fit(recipe: FakeRecipe, epochs: int = 2) -> None:
    try:
        with recipe.run, TrainingLoop(recipe, epochs=epochs, name="retrain") as loop:
            loop.fit()
    finally:
        recipe.run.close()


def epoch_calls(epoch: int) -> list[str]:
    steps = [f"step {epoch} {step}" for step in range(STEPS)]
    return [f"begin {epoch}", *steps, f"end {epoch}", f"write {epoch}"]


def test_a_checkpoint_is_written_after_each_epoch(tmp_path: Path) -> None:
    """No checkpoint is written during the end of an epoch, so a resumed run repeats that end."""
    recipe = FakeRecipe(tmp_path / "run", "save_minutes=10")
    fit(recipe)
    assert recipe.saved_progress == dict.fromkeys(epoch_calls(1), (1, 0))
    assert load_checkpoint(recipe.run.checkpoint)["epoch"] == 2


def test_a_checkpoint_is_written_within_an_epoch_when_it_is_due(tmp_path: Path) -> None:
    recipe = FakeRecipe(tmp_path / "run", "save_minutes=0")
    fit(recipe)
    assert recipe.saved_progress["step 0 1"] == (0, 1)
    assert recipe.saved_progress["end 0"] == (0, 2)
    assert recipe.saved_progress["begin 1"] == (1, 0)
    assert "step 0 0" not in recipe.saved_progress


def test_a_finished_recipe_ends_the_loop_early(tmp_path: Path) -> None:
    recipe = FakeRecipe(tmp_path / "run", last_epoch=1)
    fit(recipe, epochs=5)
    assert recipe.calls == [*epoch_calls(0), *epoch_calls(1)]
    assert load_checkpoint(recipe.run.checkpoint)["epoch"] == 2


@pytest.mark.parametrize("steps_per_read", [1, 50])  # on the CPU and on a GPU
def test_rows_contain_means_scores_norms_and_the_report(
    steps_per_read: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Means are weighted by samples: the first batch has one, the second three."""
    recipe = FakeRecipe(tmp_path / "run", on_step=lambda epoch, step: [4.0, 2.0][step])
    with recipe.run, TrainingLoop(recipe, epochs=2, name="retrain") as loop:
        loop._steps_per_read = steps_per_read
        loop.fit()
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 4]
    expected = {"epoch": 2, "lr": 0.1, "train_accuracy": 0.5, "valid_accuracy": 0.5}
    expected |= {"train_loss": pytest.approx((4 + 3 * 2) / 4), "grad_norm": 2.0, "extra": 1}
    assert {name: rows[1][name] for name in expected} == expected
    assert rows[0]["train_loss"] == expected["train_loss"]
    assert rows[1]["seconds"] >= rows[0]["seconds"] > 0
    out = capsys.readouterr().out
    assert out.count("warning of epoch") == 2
    assert "epoch 2/2" in out


def send(number: signal.Signals) -> None:
    """Send a signal to this process and wait for its handler."""
    os.kill(os.getpid(), number)
    time.sleep(0.001)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in Interrupt.SIGNALS]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_recorded_and_the_handlers_are_restored(number: signal.Signals) -> None:
    before = handlers()
    with Interrupt() as interrupt:
        assert interrupt.received is None
        send(number)
        assert interrupt.received == number
    assert handlers() == before


def test_a_second_ctrl_c_raises_at_once() -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), Interrupt():  # noqa: PT012
        send(signal.SIGINT)
        send(signal.SIGINT)
        raise AssertionError("not interrupted")
    assert handlers() == before


def test_nested_interrupts_share_a_signal() -> None:
    """In a tuning run, a signal can arrive before the training of a trial or during it."""
    before = handlers()
    with Interrupt() as outer:
        send(signal.SIGTERM)
        with Interrupt() as inner:
            assert inner.received == signal.SIGTERM
    with Interrupt() as outer:
        with Interrupt() as inner:
            send(signal.SIGINT)
        assert outer.received == inner.received == signal.SIGINT
    with Interrupt() as alone:
        assert alone.received is None
    assert handlers() == before
