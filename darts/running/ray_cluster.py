"""Execution of jobs on a cluster of Ray.

An actor of Ray on each node passes jobs to a process of its own, as on a single machine. A process
outlives its actor just long enough to save a checkpoint.

References:
    Moritz et al., "Ray: A Distributed Framework for Emerging AI Applications", arXiv:1712.05889.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from darts.config import ConfigError
from darts.config.executors import RayConfig
from darts.reading import one_line
from darts.running.jobs import Job, Outcome
from darts.running.pool import PoolExecutor, Worker, WorkerDied
from darts.running.processes import ProcessWorker
from darts.writing import WriteError, write_atomically

# By default, Ray reports its use to a server.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


class Host:
    """An actor of Ray that starts a worker process on its node and passes jobs to it.

    The process has the working directory of the command, so that relative paths mean the same.
    """

    def __init__(self, threads: int, log: Path, folder: str) -> None:
        self._folder = folder
        self._worker = ProcessWorker(None, threads, log)

    def start(self, shared: Path, content: str) -> str:
        """Start the process; return the name of the node.

        Raise ConfigError if the node does not see a file of the command with the given content.
        """
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        node = f"{socket.gethostname()} ({address})"
        try:
            os.chdir(self._folder)
            is_shared = shared.read_text("utf-8") == content
        except OSError:
            is_shared = False
        if not is_shared:
            raise ConfigError(
                f"executor=ray: node {node} does not see the files in {shared.parent}; run "
                "directories have to be on a file system that all nodes share"
            )
        self._worker.start()
        return node

    def run(self, job: Job) -> Outcome | None:
        """See ``Worker``."""
        return self._worker.run(job)

    def stop(self) -> None:
        """See ``Worker``."""
        self._worker.stop()

    def end(self) -> None:
        """See ``Worker``."""
        self._worker.end()


class RayWorker(Worker):
    """A worker process on a node of the cluster that has enough free resources."""

    _host: Any = None  # handle of the actor
    _is_ready = False

    def __init__(self, config: RayConfig, log: Path, shared: tuple[Path, str]) -> None:
        self.place = "no node yet"
        self._arguments = (config.cores, log, os.getcwd())
        self._shared = shared
        self._options = {
            "num_cpus": config.cores,
            "num_gpus": config.gpus,
            "max_concurrency": 2,  # `stop` while `run` waits
        }
        if config.memory_gb is not None:
            self._options["memory"] = int(config.memory_gb * 2**30)

    def start(self) -> None:
        """See ``Worker``."""
        self.kill()
        self._host = ray.remote(Host).options(**self._options).remote(*self._arguments)
        self.place = self._get(self._host.start.remote(*self._shared))
        self._is_ready = True

    def is_alive(self) -> bool:
        """See ``Worker``."""
        return self._host is not None

    def run(self, job: Job) -> Outcome | None:
        """See ``Worker``."""
        outcome: Outcome | None = self._get(self._host.run.remote(job))
        return outcome

    def stop(self) -> None:
        """See ``Worker``."""
        if self._is_ready:
            self._host.stop.remote()
        else:  # the cluster may never have enough free resources
            self.kill()

    def kill(self) -> None:
        """See ``Worker``."""
        host, self._host, self._is_ready = self._host, None, False
        if host is not None:
            ray.kill(host)

    def end(self) -> None:
        """See ``Worker``."""
        if self._is_ready:
            with suppress(RayError):
                ray.get(self._host.end.remote())
        self.kill()

    def _get(self, reference: Any) -> Any:
        """Wait for a result of the actor."""
        try:
            return ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, WorkerDied):
                self.kill()
            if isinstance(error.cause, (WorkerDied, WriteError, ConfigError)):
                raise error.cause from None
            raise
        except RayError:
            place = self.place
            self.kill()
            raise WorkerDied(f"was lost, on {place}") from None


class RayExecutor(PoolExecutor):
    """Executes jobs on a cluster of Ray.

    If a node is lost, its jobs continue from their last checkpoints on other nodes.

    Args:
        config: The cluster and the resources of a worker.
        workers: Number of workers; None for as many as the resources allow.
        directory: Run directory of the command, which all nodes must see.
    """

    def __init__(self, config: RayConfig, workers: int | None, directory: Path) -> None:
        _connect(config)
        allowed = _capacity(config)
        if not allowed:
            ray.shutdown()
            raise ConfigError(
                f"executor=ray: no node has executor.cores={config.cores}, executor.gpus="
                f"{config.gpus:g} and executor.memory_gb={config.memory_gb}"
            )
        logs = directory / "workers"
        self._shared = logs / "shared", secrets.token_hex(8)
        super().__init__(
            [
                RayWorker(config, logs / f"{number}.log", self._shared)
                for number in range(min(workers or allowed, allowed))
            ],
            config.cores,
        )

    def __enter__(self) -> RayExecutor:
        file, content = self._shared
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
        super().__enter__()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """See ``PoolExecutor``; a cluster that was started here ends."""
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._shared[0].unlink(missing_ok=True)
            ray.shutdown()


def _connect(config: RayConfig) -> None:
    """Join a cluster, or start one on this machine."""
    try:
        ray.init(
            address=config.address or "local",
            include_dashboard=None if config.address else False,
            configure_logging=False,
            log_to_driver=False,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"executor.address={config.address}: there is no cluster of Ray: {one_line(error)}"
        ) from None


def _capacity(config: RayConfig) -> int:
    """Return how many workers the nodes of the cluster can have at the same time."""
    wanted = {"CPU": config.cores, "GPU": config.gpus, "memory": (config.memory_gb or 0) * 2**30}
    count = 0
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        resources = node["Resources"] if node["Alive"] else {}
        fits = [resources.get(name, 0) // amount for name, amount in wanted.items() if amount > 0]
        count += int(min(fits))
    return count
