"""Weights & Biases; its environment variables choose account, project and mode.

``WANDB_MODE=offline`` writes to the run directory only; ``wandb sync`` sends it later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from darts.tracking.trackers.tracker import TRACKERS, TrackedRun, Tracker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROJECT = "darts-nas"


@TRACKERS.register
class WeightsAndBiases(Tracker):
    """A run of Weights & Biases with settings, scalars, texts and figures.

    It ignores steps that it knows already, as a resumed run repeats them.
    """

    name: ClassVar[str] = "wandb"
    package: ClassVar[str] = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        if (run.directory / "wandb").is_symlink():
            raise ValueError(f"{run.directory / 'wandb'} is a link")
        is_local = os.environ.get("WANDB_MODE", "online") in ("offline", "disabled", "dryrun")
        if not is_local and not wandb.login(prompt=False):
            raise ValueError("there is no API key; run wandb login, or set WANDB_MODE=offline")
        self._complete = False
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(run.directory),
            id=run.key(),
            name=run.name,
            config=dict(run.params),
            resume="allow",
            reinit="create_new",  # a process may have several runs at a time
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=step)

    def log_text(self, tag: str, text: str, step: int) -> None:
        self._run.summary[tag] = text

    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        import wandb

        self._run.log({tag: wandb.Image(figure)}, step=step)

    def log_results(self, metrics: Mapping[str, float]) -> None:
        self._run.summary.update({f"result/{name}": value for name, value in metrics.items()})
        self._complete = True

    def close(self) -> None:
        self._run.finish(exit_code=0 if self._complete else 1)
