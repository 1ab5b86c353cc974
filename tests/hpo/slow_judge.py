"""A judge with deterministic scores, whose trials take different amounts of time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from darts.strategies.judges import Judge, JudgeTools, TrialSpec

# Overrides of studies that this judge can score: two numbers, and more.
NUMBERS = (
    "dataset=synthetic",
    "genotype=DARTS_V2",
    "parameters.optimizer.lr={low: 0.001, high: 0.9, log: true}",
    "parameters.loader.batch_size={low: 2, high: 40}",
)
SPACE = (
    *NUMBERS,
    "parameters.selection=[best, last]",
    "parameters.ema_decay={low: 0.5, high: 0.9, when: {selection: last}}",
)


@dataclass
class SlowJudge(Judge):
    """Scores a point by a formula after a pause.

    Attributes:
        pause_seed: Seed of the lengths of the pauses.
        seconds: Longest pause per epoch.
        epochs: Number of epochs of a trial; it reports a score after each of them.
        at_once: The first trials wait until this many have begun, so this many workers get a trial.
    """

    name: str = "train"
    pause_seed: int = 0
    seconds: float = 0.02
    epochs: int = 1
    at_once: int = 1
    trains: ClassVar[bool] = False

    def __call__(self, trial: TrialSpec, tools: JudgeTools) -> Mapping[str, object]:
        values = dict(override.split("=", 1) for override in trial.overrides)
        rate, size = math.log10(float(values["optimizer.lr"])), int(values["loader.batch_size"])
        random = Random(f"{self.pause_seed} {trial.directory.name}")
        best = 1 - abs(rate + 1.5) / 3 - abs(size - 20) / 100
        self._wait_for_others(trial)
        score = 0.0
        for epoch in range(1, self.epochs + 1):
            time.sleep(self.seconds * random.random())
            score = best * (1 - 1 / (1 + epoch))
            if trial.on_epoch is not None:
                trial.on_epoch(epoch, {"accuracy": score})
        return {"valid_accuracy": score}

    def _wait_for_others(self, trial: TrialSpec) -> None:
        """Wait until ``at_once`` trials have begun; record the thread of this one."""
        folder = trial.directory.parent / "begun"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / trial.directory.name).write_text(threading.current_thread().name)
        end = time.monotonic() + 60
        while len(list(folder.iterdir())) < self.at_once and time.monotonic() < end:
            time.sleep(0.01)
