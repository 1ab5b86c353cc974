"""The training loop that search and retrain share: epochs, steps, logs, checkpoints and signals."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from darts.config import RunConfig
from darts.data import Batch
from darts.ops.float32 import float32_products
from darts.tracking import Console
from darts.training.checkpoint import checkpoint_errors
from darts.training.device import random_states, restore_random_states
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.restarts import LowerRateRestarts
from darts.training.run import EpochBegin, TrainingRun
from darts.training.state import TrainState
from darts.training.steps import Diverged, EpochMeans, require_finite

# Steps on a GPU after which their values are read at once: reading waits for the device.
STEPS_PER_READ = 50


@dataclass(frozen=True)
class StepReport:
    """Result of one training step."""

    num_samples: int  # of this rank's batch
    metrics: Mapping[str, Tensor]  # scalars, means over this rank's batch; the first is the loss
    norms: Mapping[str, Tensor]  # scalars, gradient norms; equal on all ranks


@dataclass
class EpochReport:
    """Values that a recipe adds to the logs of an epoch."""

    lr: float  # learning rate of the weights
    row: dict[str, object] = field(default_factory=dict)  # for metrics.jsonl
    scalars: dict[str, float | None] = field(default_factory=dict)  # for TensorBoard, by tag
    console: dict[str, object] = field(default_factory=dict)  # for the line of the epoch
    warnings: list[str] = field(default_factory=list)


class Recipe(ABC):
    """A training procedure: what a ``TrainingLoop`` does in each epoch and step."""

    config: RunConfig
    run: TrainingRun  # run directory, checkpoint and logs
    state: TrainState  # what a checkpoint saves and restores
    restarts: LowerRateRestarts

    @property
    def finished(self) -> bool:
        """Whether the run ends now, before its last epoch."""
        return False

    @property
    def out_of_time(self) -> bool:
        """Whether the epoch ends now, before its last step, and the run with it."""
        return False

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Set the values that depend on the epoch, for example the learning rate."""

    @abstractmethod
    def train_step(self, batch: Batch) -> StepReport:
        """Train on one batch."""

    @abstractmethod
    def end_epoch(self, epoch: int) -> EpochReport:
        """Compute validation scores and everything else that is logged once per epoch."""

    @abstractmethod
    def write_epoch(self, epoch: int) -> None:
        """Write files and figures of a completed epoch."""


class TrainingLoop:
    """Runs the epochs and steps of a recipe; a context manager.

    Entering the context opens the console and records signals, see ``Interrupt``. A checkpoint is
    written after each epoch, within an epoch when ``save_minutes`` have passed, and when a signal
    arrives.
    """

    def __init__(self, recipe: Recipe, *, epochs: int, name: str) -> None:
        self.recipe, self.run, self.state = recipe, recipe.run, recipe.state
        self.epochs = epochs
        self.steps = len(self.state.train_loader)
        total, done = epochs * self.steps, self.state.global_step
        self.console = Console(total_steps=total, name=name, done=done)
        self.interrupt = Interrupt("stopping after this step; Ctrl-C again to abort")
        # Steps of the epoch whose values have not been read from the device: the number of each,
        # the names of its values, and the number of samples of all ranks followed by the values.
        self._pending: list[tuple[int, list[str], Tensor]] = []
        self._steps_per_read = 1 if self.run.ranks.device.type == "cpu" else STEPS_PER_READ
        self._stack = ExitStack()
        self._begin: EpochBegin | None = None

    def __enter__(self) -> TrainingLoop:
        self._stack.enter_context(self.console)
        self._stack.enter_context(self.interrupt)
        # For backward passes; forward passes have a context of their own.
        tf32 = self.run.config.precision == "tf32"
        self._stack.enter_context(float32_products(tf32=tf32))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def announce(self, verb: str, data: str, notes: Iterable[str] = ()) -> None:
        """Print that the run starts or resumes, its directory, its data, and notes about them."""
        self.console.info(f"{verb if self.run.saved is None else 'resuming'} in {self.run.path}")
        epochs = f"{self.epochs} epoch{'s' if self.epochs != 1 else ''}"
        for line in (f"{data}; {epochs} on {self.run.ranks.device}", *notes):
            self.console.info(line)

    def fit(self) -> None:
        """Train until the last epoch, or until the recipe has finished.

        Raises ``Interrupted`` after a signal, when the checkpoint is written, and ``Diverged`` if
        the loss is not finite and the training cannot restart.
        """
        recipe, state = self.recipe, self.state
        self._begin = (self.run.saved or {}).get("begin")
        if self._begin is None:
            self._keep()
        while state.epoch < self.epochs and not recipe.finished:
            if state.epoch > 0 and recipe.out_of_time:  # the first epoch has at least one step
                break
            try:
                recipe.begin_epoch(state.epoch)
                for batch in self._batches():
                    self._record_step(recipe.train_step(batch))
                self._read_steps()
                self.run.ranks.average_statistics()
                report = recipe.end_epoch(state.epoch)
            except Diverged as error:
                self._restart(error)
                continue
            self._log_epoch(report)
            recipe.write_epoch(state.epoch)
            state.epoch, state.step, state.means = state.epoch + 1, 0, EpochMeans()
            self.save()
            self._keep()
        self._begin = None

    def _keep(self) -> None:
        """Keep the state from which the training continues if it diverges in the next epoch."""
        self._begin = None
        if self.recipe.restarts.left:
            state = copy.deepcopy(self.state.state_dict())
            self._begin = {"state": state, "random": random_states(self.run.ranks.device)}

    def _restart(self, error: Diverged) -> None:
        """Go back to the beginning of the epoch that diverged, or raise the error."""
        before = self.state.global_step
        if self._begin is None:
            raise error
        self._pending = []
        with checkpoint_errors(self.run.checkpoint):  # of a resumed run
            self.state.load_state_dict(self._begin["state"])
            restore_random_states(self._begin["random"], self.run.ranks.device)
        change = self.recipe.restarts.restart()
        self._keep()
        self.console.step(self.state.global_step - before)
        self.console.warn(f"{error.problem}; {change}")
        self.save()  # a resumed run must not forget the restart

    def _batches(self) -> Iterator[Batch]:
        """Yield the remaining batches of the epoch; after each, count the step and save if due."""
        state = self.state
        for batch in state.train_loader.epoch(state.epoch, state.step):
            yield batch
            state.step += 1
            if self.recipe.out_of_time:
                return
            self.save_if_due()

    def _record_step(self, report: StepReport) -> None:
        """Keep the means over all ranks; read them if it is time to."""
        state = self.state
        means = self.run.ranks.weighted_means(report.num_samples, *report.metrics.values())
        norms = [norm.to(means)[None] for norm in report.norms.values()]
        names = [*(f"train_{name}" for name in report.metrics), *report.norms]
        self._pending.append((state.step, names, torch.cat([means, *norms])))
        shown: dict[str, object] = {"epoch": f"{state.epoch + 1}/{self.epochs}"}
        # Restarts need the loss of the first step.
        if len(self._pending) >= self._steps_per_read or state.first_loss is None:
            shown["loss"] = self._read_steps()
        self.console.step(1, **shown)

    def _read_steps(self) -> float | None:
        """Add the values of the pending steps to the state; return the last loss."""
        state, loss = self.state, None
        pending, self._pending = self._pending, []
        if not pending:
            return None
        # One copy from the device for all steps.
        read = iter(torch.cat([values for _, _, values in pending]).tolist())
        for step, names, _ in pending:
            num_samples = int(next(read))
            named = {name: next(read) for name in names}
            loss = require_finite(named["train_loss"], state.epoch, step)
            if state.first_loss is None:
                state.first_loss = loss
            state.means.add(num_samples, **named)
        return loss

    def _log_epoch(self, report: EpochReport) -> None:
        """Log a completed epoch: metrics.jsonl, TensorBoard and console."""
        state, config = self.state, self.recipe.config
        number, means = state.epoch + 1, state.means.compute()
        train = {name: value for name, value in means.items() if name.startswith("train_")}
        norms = {name: value for name, value in means.items() if name not in train}
        scores = {f"valid_{name}": score for name, score in state.scores.items()}
        row = {
            "epoch": number,
            "lr": report.lr,
            **train,
            **scores,
            **norms,
            **report.row,
            **self.run.cost(),
        }
        scalars = {
            "lr/weights": report.lr,
            **{self._tag(name): value for name, value in (train | scores).items()},
            **{f"norm/{name.removesuffix('_norm')}": value for name, value in norms.items()},
            **report.scalars,
        }
        self.run.log(number * self.steps, row, scalars)
        for line in report.warnings:
            self.console.warn(line)
        key = f"valid_{config.metric}"
        score = {key: state.scores[config.metric]} if state.scores else {}
        self.console.epoch(number, self.epochs, loss=means["train_loss"], **score, **report.console)

    def _tag(self, name: str) -> str:
        """Return the tag of a score: training and validation share charts of the main metrics."""
        split, _, metric = name.partition("_")
        main = metric in (self.recipe.config.metric, "loss")
        return f"{metric}/{split}" if main else f"{split}/{metric}"

    def save_if_due(self) -> None:
        """Write a checkpoint if any rank received a signal or ``save_minutes`` have passed."""
        due = self.run.is_save_due(self.recipe.config.save_minutes)
        due = self.interrupt.take_save_request() or due
        if self.run.ranks.all_reduce_max(bool(self.interrupt.received) or due):
            self._read_steps()
            self.save()

    def save(self) -> None:
        """Write a checkpoint, then exit if any rank received a signal that ends the run."""
        begin = self._begin if self.state.step else None
        self.run.save(self.state.global_step, self.state.state_dict(), begin)
        number = int(self.run.ranks.all_reduce_max(self.interrupt.received or 0))
        if not number:
            return
        command = self.run.files.resume_command
        self.console.info(f"interrupted; checkpoint saved. Continue with: {command}")
        raise Interrupted(128 + number)
