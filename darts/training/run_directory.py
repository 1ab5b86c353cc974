"""One run's directory: what is in it, how it is written, and how a run is taken up again."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from darts.data import load_split, save_split
from darts.tracking import Board, Console, EnergyMeter, Ledger, MetricsLog, environment
from darts.tracking.files import write_atomically, write_json
from darts.tracking.ledger import PHASES, Entry, account, cost_of
from darts.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)
from darts.training.device import peak_memory
from darts.training.distributed import Ranks
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.steps import Diverged

# What may differ between a run and its continuation: where and how it computes, what it tells.
FREE = (
    "name",
    "resume",
    "device",
    "save_minutes",
    "dry_run",
    "memory",
    "compile",
    "loader.workers",
    "dataset.root",
    "dataset.download",
    "dataset.verify",
    "tracking.",
    "benchmark.",
)

DIVERGED = "diverged.json"


class Run:
    """The files of one run, from the first to the last.

    ``Run(...)`` only looks: it loads the checkpoint of a run to be resumed, or makes sure that the
    directory is free. ``begin`` writes the first files and opens the logs.

    Args:
        kind: the command.
        directory: where everything goes.
        config: the configuration as nested plain values.
        config_text: the same as YAML.
        overrides: of the command line, from which a resumed run is composed.
        resume: go on with what is there.
        ranks: of which the first alone writes. The methods must be called on all of them.

    Attributes:
        state: what the checkpoint holds, or None for a run that begins.

    Raises:
        CheckpointError: when the checkpoint cannot serve, or a new run would overwrite an old one.
    """

    def __init__(
        self,
        kind: str,
        directory: Path,
        config: Mapping[str, Any],
        *,
        config_text: str,
        overrides: Sequence[str],
        resume: bool,
        ranks: Ranks,
    ) -> None:
        self.ranks = ranks
        self.kind = kind
        self.directory = directory
        self.config = dict(config)
        self._config_text = config_text
        self.resume = resume
        self._overrides = [o for o in overrides if not o.startswith("resume=")]
        self.state: dict[str, Any] | None = None
        self._saved_at = time.monotonic()
        if resume:
            self._load()
        elif ranks.main and (directory / "config.yaml").exists():
            raise CheckpointError(
                f"{directory} already holds a run; choose another hydra.run.dir, "
                f"or go on with it by resume={directory}"
            )

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file."""
        return self.directory / "checkpoint.pt"

    def _load(self) -> None:
        if (self.directory / "summary.json").exists():
            raise CheckpointError(f"the run in {self.directory} is complete; nothing to resume")
        if not self.checkpoint.exists():
            return  # killed before its first checkpoint: begin again
        self.state = load_checkpoint(self.checkpoint, self.kind)
        differing = list(differences(self.state["config"], self.config))
        if differing:
            key, old, new = differing[0]
            more = f" (and {len(differing) - 1} more keys)" if len(differing) > 1 else ""
            raise CheckpointError(
                f"cannot resume {self.directory}: {key} is {old!r} in the run and {new!r} here"
                f"{more}"
            )

    def begin(
        self,
        splits: Mapping[str, Tensor],
        *,
        tracking: Any,
    ) -> None:
        """Write what is known before the first step, open the logs and start the energy meter.

        Args:
            splits: indices of the training images by use; a resumed run must have the same.
            tracking: the configuration's ``tracking``.

        Raises:
            CheckpointError: when the data set is not the one the run began with.
        """
        path, main = self.directory / "split.npz", self.ranks.main
        if self.state is None and main:
            self.directory.mkdir(parents=True, exist_ok=True)
            save_split(path, dict(splits))
            began = {"command": self.kind, "overrides": self._overrides}
            write_json(self.directory / "overrides.json", began)
            write_json(self.directory / "env.json", environment())
            # Last of these: a folder that holds it is a run, which can be resumed.
            write_atomically(self.directory / "config.yaml", self._config_text)
        elif main:
            saved = load_split(path)
            if saved.keys() != splits.keys() or any(
                not saved[name].equal(part) for name, part in splits.items()
            ):
                raise CheckpointError(
                    f"cannot resume {self.directory}: the data set is not the one in split.npz"
                )
        if main:
            (self.directory / DIVERGED).unlink(missing_ok=True)
        self._gco2_per_kwh = tracking.energy.gco2_per_kwh
        self._ledger = Ledger(meter_of(tracking.energy, self.ranks))
        resumed, purge = self.state, 0 if self.resume else None
        if resumed is not None:
            if main:  # the others count from 0, as their joules are added to these
                self._ledger.load_state_dict(resumed["energy"])
            restore_random_states(resumed["random"])
            self.ranks.align_generators()
            purge = resumed["global_step"] + 1
        self._ledger.start()
        if main:
            self.metrics = MetricsLog(
                self.directory / "metrics.jsonl",
                resume_at=None if resumed is None else resumed["metrics_offset"],
            )
        self.board = Board(self.directory, enabled=tracking.tensorboard and main, purge_step=purge)

    def log(self, step: int, row: Mapping[str, Any], scalars: Mapping[str, Any]) -> None:
        """Add a row to metrics.jsonl and numbers to TensorBoard, at a global step."""
        if self.ranks.main:
            self.metrics.write(step=step, **row)
            self.board.scalars(step, scalars)

    def write(self, name: str, text: str) -> None:
        """Write a file of the directory, whole or not at all."""
        if self.ranks.main:
            write_atomically(self.directory / name, text)

    def save(self, global_step: int, content: Mapping[str, Any]) -> None:
        """Write the checkpoint: the command's content and what every run needs to go on."""
        energy = {"entries": self._entries()}
        self._saved_at = time.monotonic()
        if not self.ranks.main:
            return
        self.metrics.sync()
        self.board.flush()
        save_checkpoint(
            self.checkpoint,
            self.kind,
            {
                **content,
                "config": self.config,
                "global_step": global_step,
                "metrics_offset": self.metrics.offset,
                "random": random_states(),
                "energy": energy,
            },
        )
        self._saved_at = time.monotonic()

    def due(self, minutes: float) -> bool:
        """Whether the last checkpoint is older than so many minutes."""
        return time.monotonic() - self._saved_at >= 60 * minutes

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Within it, costs are those of another phase than training; see ``Ledger``."""
        return self._ledger.phase(name)

    def cost(self) -> dict[str, Any]:
        """Seconds and joules so far, resumed parts included, and where the joules come from."""
        return cost_of(self._entries(), self._gco2_per_kwh)

    def _entries(self) -> list[Entry]:
        """The accounts of all ranks' processes, on the first rank."""
        own = self._ledger.joules()
        others = {phase: self.ranks.all_reduce_sum(own[phase]) - own[phase] for phase in PHASES}
        return self._ledger.entries(others)

    def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Write summary.json, the run's last file, close the logs and return the summary."""
        entries = self._entries()
        memory = {"peak_memory_mb": peak_memory(self.ranks.device) / 2**20}
        cost = cost_of(entries, self._gco2_per_kwh)
        whole = {**summary, "ranks": self.ranks.size, **cost, **memory}
        if not self.ranks.main:
            return whole
        env = json.loads((self.directory / "env.json").read_text(encoding="utf-8"))
        whole["git_revision"] = env.get("git_revision")
        scores = {k: v for k, v in whole.items() if isinstance(v, float)}
        self.board.hparams(self.config, scores)
        self.close()
        write_json(self.directory / "energy.json", account(entries, self._gco2_per_kwh))
        write_json(self.directory / "summary.json", whole)
        return whole

    def close(self) -> None:
        """Close the logs, if ``begin`` opened them."""
        for log in ("metrics", "board"):
            if hasattr(self, log):
                getattr(self, log).close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the logs of a run that is left by an error; ``finish`` needs those of others.

        One that diverges leaves in ``diverged.json`` why, and what it has cost.
        """
        if kind is None:
            return
        if isinstance(error, Diverged):
            bill = {"why": str(error), **self.cost()}
            if self.ranks.main:
                write_json(self.directory / DIVERGED, bill)
        self.close()


def meter_of(energy: Any, ranks: Ranks) -> EnergyMeter:
    """The meter of one of the ranks, by the configuration's ``tracking.energy``."""
    return EnergyMeter(
        watts_per_core=energy.watts_per_core,
        gpu_watts=energy.gpu_watts,
        device=ranks.device,
        processors=ranks.local_rank == 0,
    )


def leave_if_asked(interrupt: Interrupt, run: Run, console: Console) -> None:
    """After a checkpoint: leave when a signal asked for it, on any rank.

    Raises:
        Interrupted: with 128 plus the signal's number as exit code.
    """
    number = run.ranks.all_reduce_max(interrupt.received or 0)
    if not number:
        return
    run.close()
    word = shlex.quote(f"resume={run.directory}")
    console.say(f"stopped and saved; go on with: python -m darts.{run.kind} {word}")
    raise Interrupted(128 + number)


def differences(
    saved: Mapping[str, Any],
    given: Mapping[str, Any],
    prefix: str = "",
    free: tuple[str, ...] = FREE,
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys, but for those that begin as a ``free`` one, whose values differ, with both."""
    for name in dict.fromkeys([*saved, *given]):
        key = prefix + name
        old, new = saved.get(name), given.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, key + ".", free)
        elif old != new and not key.startswith(free):
            yield key, old, new
