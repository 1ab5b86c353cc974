"""A training run: its directory, checkpoint, metric logs and energy ledger."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from torch import Tensor

from darts.config import EnergyConfig, RunConfig, TrackingConfig
from darts.data import load_split, save_split
from darts.reading import JsonObject
from darts.tracking import EnergyMeter, Ledger, MetricsLog, TensorBoard
from darts.tracking.ledger import PHASES, CostSummary, LedgerEntry, energy_report, summary_costs
from darts.training.checkpoint import (
    CheckpointError,
    StateDict,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)
from darts.training.device import peak_memory
from darts.training.distributed import Ranks
from darts.training.run_directory import RunDirectory
from darts.training.steps import Diverged

DIVERGED = "diverged.json"


class TrainingRun:
    """All output of a search or a retraining, from the first file to the last.

    The constructor writes nothing: it loads the checkpoint of a run to resume, or requires an
    unused directory. ``begin`` writes the first files and opens the logs.

    Args:
        command: ``search`` or ``retrain``.
        path: The run directory.
        config: Configuration of the run.
        overrides: Command line, for ``overrides.json``.
        ranks: Processes of the run; rank 0 writes. Call the methods on all of them.

    Attributes:
        saved: Content of the checkpoint to resume from, or None for a new run.

    Raises:
        CheckpointError: When the checkpoint is unusable.
        ConfigError: When the directory holds another run, or the configuration differs from it.
    """

    def __init__(
        self, command: str, path: Path, config: RunConfig, *, overrides: Sequence[str], ranks: Ranks
    ) -> None:
        self.command, self.path, self.config, self.ranks = command, path, config, ranks
        self.files = RunDirectory(path, command)
        self.resumed = config.resume is not None
        self.saved: StateDict | None = None
        self._overrides = list(overrides)
        self._last_save = time.monotonic()
        self._gco2_per_kwh = config.tracking.energy.gco2_per_kwh
        if self.resumed:
            self._load()
        elif ranks.main:
            self.files.require_unused(resumable=True)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file."""
        return self.path / "checkpoint.pt"

    def _load(self) -> None:
        self.files.require_incomplete()
        if not self.checkpoint.exists():
            return  # killed before its first checkpoint: start from the beginning
        self.saved = load_checkpoint(self.checkpoint, self.command)
        self.files.require_same(self.saved["config"], self.config)

    def begin(self, subsets: Mapping[str, Tensor]) -> None:
        """Write the first files, restore random states, open the logs, start the energy meter.

        Args:
            subsets: Indices of the training samples by use, ``(n,)`` int64 each.

        Raises:
            CheckpointError: When a resumed run finds another data set than it began with.
        """
        file, main, saved = self.path / "split.npz", self.ranks.main, self.saved
        if main and saved is None:
            self.path.mkdir(parents=True, exist_ok=True)
            save_split(file, dict(subsets))
            self.files.begin(self.config, self._overrides)
        elif main:
            before = load_split(file)
            if before.keys() != subsets.keys() or any(
                not before[name].equal(indices) for name, indices in subsets.items()
            ):
                raise CheckpointError(
                    f"cannot resume {self.path}: the data set is not the one in split.npz"
                )
        if main:
            (self.path / DIVERGED).unlink(missing_ok=True)
        tracking = self.config.tracking
        self._ledger = Ledger(energy_meter(tracking.energy, self.ranks))
        purge_step = 0 if self.resumed else None
        if saved is not None:
            if main:  # other ranks count from 0; their joules are added to rank 0's
                self._ledger.load_state_dict(saved["energy"])
            restore_random_states(saved["random"])
            self.ranks.align_generators()
            purge_step = saved["global_step"] + 1
        self._ledger.start()
        self._open_logs(tracking, purge_step)

    def _open_logs(self, tracking: TrackingConfig, purge_step: int | None) -> None:
        if self.ranks.main:
            offset = None if self.saved is None else self.saved["metrics_offset"]
            self.metrics = MetricsLog(self.path / "metrics.jsonl", resume_at=offset)
        enabled = tracking.tensorboard and self.ranks.main
        self.board = TensorBoard(self.path, enabled=enabled, purge_step=purge_step)

    def log(self, step: int, row: JsonObject, scalars: Mapping[str, float | None]) -> None:
        """Add a row to metrics.jsonl and scalars to TensorBoard at a global step."""
        if self.ranks.main:
            self.metrics.write(step=step, **row)
            self.board.log_scalars(step, scalars)

    def write(self, name: str, text: str) -> None:
        """Write a file of the run directory atomically."""
        if self.ranks.main:
            self.files.write(name, text)

    def save(self, global_step: int, state: StateDict) -> None:
        """Write the checkpoint: the state, configuration, random states and costs of the run."""
        energy = {"entries": self._energy_entries()}
        self._last_save = time.monotonic()
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
                "random": random_states(),
                "energy": energy,
            },
        )
        self._last_save = time.monotonic()

    def is_save_due(self, minutes: float) -> bool:
        """Whether the last checkpoint is older than ``minutes``."""
        return time.monotonic() - self._last_save >= 60 * minutes

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Charge costs to another phase than training within the context; see ``Ledger``."""
        return self._ledger.phase(name)

    def cost(self) -> CostSummary:
        """Return seconds, joules and their source so far, including resumed parts."""
        return summary_costs(self._energy_entries(), self._gco2_per_kwh)

    def _energy_entries(self) -> list[LedgerEntry]:
        """Return the ledger entries with the joules of all ranks; complete on rank 0 only."""
        own = self._ledger.joules_by_phase()
        others = {phase: self.ranks.all_reduce_sum(own[phase]) - own[phase] for phase in PHASES}
        return self._ledger.entries(others)

    def finish(self, summary: JsonObject) -> JsonObject:
        """Close the logs, write energy.json and summary.json, and return the summary."""
        entries = self._energy_entries()
        complete = {
            "command": self.command,
            **summary,
            "ranks": self.ranks.size,
            **summary_costs(entries, self._gco2_per_kwh),
            "peak_memory_mb": peak_memory(self.ranks.device) / 2**20,
        }
        if not self.ranks.main:
            return complete
        scores = {name: value for name, value in complete.items() if isinstance(value, float)}
        self.board.log_hparams(dataclasses.asdict(self.config), scores)
        self.close()
        self.files.write_json("energy.json", energy_report(entries, self._gco2_per_kwh))
        return self.files.finish(complete)

    def close(self) -> None:
        """Close the logs that ``begin`` opened."""
        for log in ("metrics", "board"):
            if hasattr(self, log):
                getattr(self, log).close()

    def __enter__(self) -> TrainingRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """After an error, close the logs; a diverged run writes its reason and cost first.

        Without an error the logs stay open: ``finish`` writes to them.
        """
        if kind is None:
            return
        if isinstance(error, Diverged):
            record = {"why": str(error), **self.cost()}
            if self.ranks.main:
                self.files.write_json(DIVERGED, record)
        self.close()


def energy_meter(energy: EnergyConfig, ranks: Ranks) -> EnergyMeter:
    """Return the energy meter of this rank's process."""
    return EnergyMeter(
        watts_per_core=energy.watts_per_core,
        gpu_watts=energy.gpu_watts,
        device=ranks.device,
        read_rapl=ranks.local_rank == 0,
    )
