"""A training run: its directory, checkpoints, logs of metrics, and energy ledger."""

from __future__ import annotations

import dataclasses
import hashlib
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from darts.config import Invocation, RunConfig
from darts.config.fields import check_fields, flatten
from darts.data import load_split, save_split
from darts.reading import JsonObject, one_line
from darts.tracking import EnergyMeter, MetricsLog, TensorBoard
from darts.tracking.ledger import CostSummary, Ledger, LedgerEntry, energy_report, summary_costs
from darts.tracking.tensorboard import event_offset
from darts.tracking.trackers import TRACKERS, Board, TrackedRun
from darts.training.checkpoint import (
    FILE,
    CheckpointError,
    StateDict,
    checkpoint_errors,
    load_checkpoint,
    save_checkpoint,
)
from darts.training.device import RandomStates, peak_memory, random_states, restore_random_states
from darts.training.distributed import Ranks
from darts.training.run_directory import RunDirectory
from darts.training.state import TrainState
from darts.training.steps import Diverged
from darts.typed_values import Count, Misfit, typed
from darts.writing import WriteError, is_machine_failure

DIVERGED = "diverged.json"

# The settings by which runs are compared in TensorBoard's page HPARAMS.
HPARAMS = (
    "method", "genotype", "dataset.name", "space.name", "space.channels", "space.cells", "epochs",
    "loader.batch_size", "optimizer.lr", "optimizer.weight_decay", "arch_optimizer.lr",
    "drop_path", "cutout", "seed",
)  # fmt: skip


class EpochBegin(TypedDict):
    """The state at the beginning of an epoch, to which a run goes back if the epoch diverges."""

    state: StateDict  # of the training
    random: RandomStates


class RunEntries(TypedDict):
    """Entries that a run adds to the training state in a checkpoint."""

    config: JsonObject
    global_step: Count
    metrics_offset: Count  # bytes of metrics.jsonl
    event_offset: Count  # bytes of the event file
    split: str  # digest of the content of split.npz
    random: RandomStates
    energy: list[LedgerEntry]
    begin: EpochBegin | None  # within an epoch that may be repeated


class TrainingRun:
    """Writes all files of a search or a retraining; a context manager that owns the run directory.

    The constructor claims the directory, and loads the checkpoint of a run to resume; of the files
    of the run it writes only ``run.lock``. ``begin`` writes the first files and opens the logs. A
    dry run writes nothing and owns nothing. Rank 0 writes, but all ranks must call the methods.
    """

    def __init__(
        self, command: str, invocation: Invocation, config: RunConfig, *, ranks: Ranks
    ) -> None:
        self.command, self.config, self.ranks = command, config, ranks
        self.files = RunDirectory(invocation.directory, command)
        self.resumed = config.resume is not None
        # Content of the checkpoint to resume from; None for a new run, and for a run that was
        # killed before its first checkpoint.
        self.saved: StateDict | None = None
        self.overrides = list(invocation.overrides)
        self._last_save = time.monotonic()
        self._gco2_per_kwh = config.tracking.energy.gco2_per_kwh
        self._global_step = 0  # of the last checkpoint
        try:
            self._claim(numbered=invocation.numbered)
            if self.resumed:
                self._load()
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.files.path

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file."""
        return self.path / FILE

    def _claim(self, *, numbered: bool) -> None:
        if not self.ranks.main:
            return
        if self.config.dry_run:
            if not self.resumed and not numbered:
                self.files.require_unused()
        elif self.resumed:
            self.files.claim()
        else:
            self.files.claim_unused(numbered=numbered)

    def _load(self) -> None:
        if not self.checkpoint.exists():
            self.files.require_incomplete()
            return  # killed before its first checkpoint: start from the beginning
        self.saved = load_checkpoint(self.checkpoint, self.command)
        with checkpoint_errors(self.checkpoint):
            self.saved |= typed(RunEntries, self.saved)
            self.config = self.config.resumed(self.files.saved_config(), self.saved["config"])
            check_fields(self.config)
            changed = self.config.continued_keys(self.saved["config"])
            continues = self.config.extends(self.saved["config"])
        if not continues:
            self.files.require_incomplete()
        self.files.require_same_config(self.saved["config"], self.config, changed)
        if self.ranks.main:
            self.files.warn_of_other_threads(torch.get_num_threads())

    def restore(self, state: TrainState, *, epochs: int) -> None:
        """Restore the training state from the checkpoint, if there is one.

        Call it before ``begin``, which changes files.
        """
        if self.saved is None:
            return
        with checkpoint_errors(self.checkpoint):
            state.load_state_dict(self.saved)
            if state.epoch > epochs:
                raise Misfit(f"epoch is {state.epoch} of {epochs} epochs")

    def begin(self, subsets: Mapping[str, Tensor], texts: Mapping[str, str] | None = None) -> None:
        """Write the first files, restore the random states, start the energy meter, open the logs.

        ``subsets`` are the indices of the training samples, ``(n,)`` int64, by name. ``texts`` are
        further text files by name, which describe the data.
        """
        file, main, saved = self.path / "split.npz", self.ranks.main, self.saved
        self._split = _digest(subsets)
        if main:
            if saved is None:
                save_split(file, dict(subsets))
                self.files.begin(self.config, self.overrides)
            elif not saved["split"] == self._split == _digest(load_split(file)):
                raise CheckpointError(
                    f"cannot resume {self.path}: the data set is not the one with which the run "
                    "began, or split.npz was changed"
                )
            (self.path / DIVERGED).unlink(missing_ok=True)
            self.files.reopen()
        energy, ranks = self.config.tracking.energy, self.ranks
        meter = EnergyMeter(energy, ranks.device, read_rapl=ranks.local_rank == 0)
        self._ledger = Ledger(meter, ranks.all_reduce_sum)
        if saved is not None:
            with checkpoint_errors(self.checkpoint):
                if main:  # other ranks start at 0; rank 0 adds their joules to the saved ones
                    self._ledger.restore(saved["energy"])
                restore_random_states(saved["random"], self.ranks.device)
            self.ranks.align_generators()
            self._global_step = saved["global_step"]
        self._open_logs()
        for name, text in (texts or {}).items():
            self.write(name, text)

    def _open_logs(self) -> None:
        self.board = Board()
        if not self.ranks.main:
            return
        saved = self.saved or {"metrics_offset": 0, "event_offset": 0}
        self.metrics = MetricsLog(self.path / "metrics.jsonl", resume_at=saved["metrics_offset"])
        tracking, metric = self.config.tracking, self.config.metric
        resumed_at = None if self.saved is None else self._global_step
        run = TrackedRun(self.path, self.config.name, hparams(self.config), resumed_at)
        if tracking.tensorboard:
            make = partial(TensorBoard, run, saved["event_offset"], metric)
            self.board.open(TensorBoard.name, make)
        for name in dict.fromkeys(tracking.trackers):
            self.board.open(name, partial(TRACKERS[name], run))

    def log(self, step: int, row: JsonObject, scalars: Mapping[str, float | None]) -> None:
        """Add a row to metrics.jsonl and scalars to all trackers at a global step."""
        if self.ranks.main:
            self.metrics.write(step=step, **row)
            self.board.log_scalars(step, scalars)

    def write(self, name: str, text: str) -> None:
        """Write a text file of the run directory atomically."""
        if self.ranks.main:
            self.files.write(name, text)

    def save(self, global_step: int, state: StateDict, begin: EpochBegin | None = None) -> None:
        """Write the checkpoint: training state, configuration, random states and costs.

        ``begin`` is the state at the beginning of an epoch that is not complete.
        """
        energy = self._ledger.entries()
        self._last_save, self._global_step = time.monotonic(), global_step
        if not self.ranks.main:
            return
        self.metrics.sync()
        self.board.flush()
        save_checkpoint(
            self.checkpoint,
            self.command,
            {
                **state,
                "config": dataclasses.asdict(self.config),
                "global_step": global_step,
                "metrics_offset": self.metrics.offset,
                "event_offset": event_offset(self.path),
                "split": self._split,
                "random": random_states(self.ranks.device),
                "energy": energy,
                "begin": begin,
            },
        )
        self._last_save = time.monotonic()

    def is_save_due(self, minutes: float) -> bool:
        """Return whether the last checkpoint is at least ``minutes`` old."""
        return time.monotonic() - self._last_save >= 60 * minutes

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager that charges costs to the named phase; see ``Ledger``."""
        return self._ledger.phase(name)

    def cost(self) -> CostSummary:
        """Return seconds, joules, their source and emissions of the run so far.

        Costs before a resume are included on rank 0 only.
        """
        return summary_costs(self._ledger.entries(), self._gco2_per_kwh)

    def finish(
        self, summary: JsonObject, write_card: Callable[[JsonObject], None] | None = None
    ) -> JsonObject:
        """Close the logs; write ``energy.json`` and, as the last file, ``summary.json``.

        Return the complete summary. ``write_card`` writes files that depend on it.
        """
        entries = self._ledger.entries()
        complete = {
            "command": self.command,
            "name": self.config.name,
            "metric": self.config.metric,
            **summary,
            "seed": self.config.seed,
            "device": str(self.ranks.device),
            "ranks": self.ranks.size,
            **summary_costs(entries, self._gco2_per_kwh),
            "peak_memory_mb": peak_memory(self.ranks.device) / 2**20,
        }
        if not self.ranks.main:
            return complete
        scores = {
            name: float(value)
            for name, value in complete.items()
            if isinstance(value, float)
            and name.startswith(("valid_", "test_", "seconds", "joules"))
        }
        self.board.log_results(scores)
        self.board.close()
        self.metrics.close()
        self.files.write_json("energy.json", energy_report(entries, self._gco2_per_kwh))
        return self.files.finish(complete, write_card)

    def close(self) -> None:
        """Close the logs that ``begin`` opened, and release the run directory."""
        try:
            for log in ("board", "metrics"):
                if hasattr(self, log):
                    getattr(self, log).close()
        finally:
            self.files.release()

    def __enter__(self) -> TrainingRun:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the run; if it diverged, first write the reason and the cost.

        After a second Ctrl-C, and after failures of the machine, the message has the command that
        resumes the run.
        """
        if isinstance(error, Diverged):
            record = {"reason": str(error), **self.cost()}
            if self.ranks.main:
                self.files.write_json(DIVERGED, record)
        with warnings.catch_warnings():
            if isinstance(error, OSError):  # a full disk needs no further warnings
                warnings.simplefilter("ignore")
            try:
                self.close()
            except OSError:
                if error is None:
                    raise
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"aborted by Ctrl-C{self._continuation()}") from None
        if isinstance(error, OSError) and is_machine_failure(error):
            raise WriteError(error.errno, f"{one_line(error)}{self._continuation()}") from error

    def _continuation(self) -> str:
        """Return the end of an error message: how to continue; empty without a checkpoint."""
        if not self.ranks.main or not self.checkpoint.exists():
            return ""
        complete = f"the checkpoint of step {self._global_step} is complete"
        return f"; {complete}, continue with: {self.files.resume_command}"


def _digest(subsets: Mapping[str, Tensor]) -> str:
    """Return a hash of the subsets of a data set."""
    digest = hashlib.sha256()
    for name, indices in sorted(subsets.items()):
        digest.update(f"{name} {len(indices)} ".encode())
        digest.update(indices.cpu().numpy().tobytes())
    return digest.hexdigest()


def hparams(config: RunConfig) -> dict[str, object]:
    """Return the values of those ``HPARAMS`` that a configuration has."""
    values = dict(flatten(dataclasses.asdict(config)))
    return {key: values[key] for key in HPARAMS if values.get(key) is not None}
