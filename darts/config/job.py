"""One composed configuration on its way to a command, in this process or another.

A launcher of Hydra may send the runs of a sweep to processes of their own, on a cluster say.
"""

from __future__ import annotations

import dataclasses
import importlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from darts.config.fields import check_fields


@dataclasses.dataclass(frozen=True)
class Invocation:
    """How a command was called: where it writes, and the overrides it was given."""

    directory: Path
    overrides: tuple[str, ...]


class Job:
    """What Hydra calls with each composed configuration, here or where a launcher sends it.

    Attributes:
        directories, results: of the jobs done in this process.
        failure: the error of the first that failed; later ones are not begun.
    """

    def __init__(
        self,
        command: str,
        check: Callable[[Any], None],
        task: Callable[[Any, Invocation], Any],
        *,
        sent: bool = False,
    ) -> None:
        self.command, self.check, self.task, self.sent = command, check, task, sent
        self.directories: list[Path] = []
        self.results: list[Any] = []
        self.failure: list[Exception] = []

    def __reduce__(self) -> tuple[Callable[[str], Job], tuple[str]]:
        # By name: the functions of a command started by ``python -m`` belong to ``__main__``.
        return _sent_job, (self.command,)

    def __call__(self, composed: DictConfig) -> None:
        if self.failure:
            return
        self.directories.append(Path(HydraConfig.get().runtime.output_dir))
        try:
            config = OmegaConf.to_object(composed)
            check_fields(config)
            self.check(config)
            overrides = tuple(HydraConfig.get().overrides.task)
            self.results.append(self.task(config, Invocation(self.directories[-1], overrides)))
        except Exception as error:
            if self.sent:
                traceback.print_exc()  # into the launcher's log
                raise
            self.failure.append(error)  # raised again later: Hydra would print lines of its own


def _sent_job(command: str) -> Job:
    module = importlib.import_module(f"darts.{command}")
    return Job(command, module.check, getattr(module, command), sent=True)
