"""Configuration of executors: the group ``executor``, which says where the runs run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from darts.config.fields import MISSING
from darts.registry import choice, number


@dataclass
class ExecutorConfig:
    """Where runs run."""

    name: str = MISSING


@dataclass
class ProcessesConfig(ExecutorConfig):
    """Processes of this machine."""


@dataclass
class InlineConfig(ExecutorConfig):
    """This process, one run after the other; for debugging."""


@dataclass
class ClusterConfig(ExecutorConfig):
    """Workers of a cluster. Each executes one run at a time."""

    cores: int = number(1, low=1, high=1024)  # of a worker, and threads of PyTorch
    gpus: float = number(0, low=0, high=64)  # of a worker
    memory_gb: float | None = number(None, above=0)  # of a worker; null: no limit


@dataclass
class RayConfig(ClusterConfig):
    """A cluster of Ray. With ``gpus`` below 1, several workers share a GPU."""

    address: str | None = None  # HOST:PORT of a running cluster, or auto; null: start Ray here


@dataclass
class SlurmConfig(ClusterConfig):
    """Jobs of Slurm, through submitit."""

    cluster: str = choice("slurm", "slurm", "local")  # local: processes of this machine
    folder: str = "runs/slurm"  # for the files of submitit; all nodes must see it
    partition: str | None = None
    minutes: int = number(1440, low=1)  # time limit of a run, which then continues in a new job
    options: dict[str, Any] = field(default_factory=dict)  # of submitit, for example slurm_qos


EXECUTORS: dict[str, type] = {
    "inline": InlineConfig,
    "processes": ProcessesConfig,
    "ray": RayConfig,
    "slurm": SlurmConfig,
}
