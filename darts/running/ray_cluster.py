"""Execution of jobs on a cluster of Ray.

An actor of Ray on each node passes jobs to a process of its own, as on a single machine. A process
outlives its actor just long enough to save a checkpoint. To this end, it leaves the process group
of the actor, which Ray kills a fifth of a second after SIGTERM.

References:
    Moritz et al., "Ray: A Distributed Framework for Emerging AI Applications", arXiv:1712.05889.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray._private import services
from ray.exceptions import RayError, RayTaskError

from darts.config import ConfigError
from darts.config.many_runs import RayConfig
from darts.reading import one_line
from darts.running.jobs import ExecutorError, Job, Outcome
from darts.running.pool import PoolExecutor, Worker, WorkerDied
from darts.running.processes import ProcessWorker
from darts.training.interrupt import Interrupt
from darts.writing import write_atomically

_ANSWER_SECONDS = 10  # an idle host that needs longer for an answer counts as lost
_CONNECT_SECONDS = 5  # a cluster that accepts no connection in this time is missing


class Host:
    """An actor of Ray that starts a worker process on its node and passes jobs to it.

    The process has the working directory of the command, so that relative paths mean the same.

    Args:
        threads: Threads of PyTorch.
        log: File for the output outside of runs.
        folder: Working directory of the command.
        environment: Variables to set.
    """

    def __init__(self, threads: int, log: Path, folder: str, environment: dict[str, str]) -> None:
        self._folder = folder
        self._worker = ProcessWorker(None, threads, log, own_group=True)
        os.environ.update(environment)

    def start(self, shared: Path) -> str:
        """Start the process; return the name of the node.

        Raise ExecutorError if the node does not see the working directory, or the file ``shared``.
        """
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        place = f"{socket.gethostname()} ({address})"
        try:
            os.chdir(self._folder)
            shared.stat()
        except OSError as error:
            problem = f"executor=ray: node {place} does not see {error.filename}"
            advice = "all nodes must see the working directory and the run directory of the command"
            raise ExecutorError(f"{problem}; {advice}") from None
        self._worker.start()
        return place

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the ``ProcessWorker``."""
        return getattr(self._worker, method)(*arguments)


class RayWorker(Worker):
    """A worker process on a node of the cluster that has enough free resources."""

    _host: Any = None  # handle of the actor
    _is_ready = False

    def __init__(self, config: RayConfig, log: Path, shared: Path) -> None:
        self.place = "no node yet"
        environment = {k: text for k, text in os.environ.items() if k.startswith("DARTS_")}
        if not config.gpus:  # Ray hides no GPU from an actor without GPUs
            environment["CUDA_VISIBLE_DEVICES"] = ""
        self._arguments = (config.cores, log, os.getcwd(), environment)
        self._shared = shared
        self._options = {
            "num_cpus": config.cores,
            "num_gpus": config.gpus,
            "max_concurrency": 2,  # `stop` while `run` waits
        }
        if config.memory_gb is not None:
            self._options["memory"] = int(config.memory_gb * 2**30)

    def start(self) -> None:
        self._is_ready = False
        self.kill()  # the actor whose process has died, if any
        self._host = ray.remote(Host).options(**self._options).remote(*self._arguments)
        self.place = self._get(self._host.start.remote(self._shared))
        self._is_ready = True

    def is_alive(self) -> bool:
        with suppress(RayError):
            return bool(ray.get(self._host.call.remote("is_alive"), timeout=_ANSWER_SECONDS))
        return False

    def run(self, job: Job) -> Outcome | None:
        outcome: Outcome | None = self._get(self._host.call.remote("run", job))
        return outcome

    def stop(self) -> None:
        if self._is_ready:
            self._host.call.remote("stop")
        else:  # the cluster may never have enough free resources
            self.kill()

    def kill(self) -> None:
        if self._host is not None:
            ray.kill(self._host)

    def end(self) -> None:
        if self._is_ready:
            with suppress(RayError):
                ray.get(self._host.call.remote("end"), timeout=_ANSWER_SECONDS)
        self.kill()

    def _get(self, reference: Any) -> Any:
        """Wait for a result of the actor."""
        try:
            return ray.get(reference)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            self.kill()  # the actor may only be unreachable, and still execute a job
            raise WorkerDied(f"was lost, on {self.place}: {one_line(error)}") from None


class RayExecutor(PoolExecutor):
    """Executes jobs on a cluster of Ray, which entering the context joins or starts.

    If a node is lost, its jobs continue from their last checkpoints on other nodes.

    Args:
        config: The cluster and the resources of a worker.
        workers: Largest number of workers; None for as many as the resources allow.
        directory: Run directory of the command, which all nodes must see.
    """

    def __init__(self, config: RayConfig, workers: int | None, directory: Path) -> None:
        super().__init__([], config.cores)
        self._config, self._most, self._logs = config, workers, directory / "workers"
        self._shared = self._logs / f"shared-{secrets.token_hex(8)}"
        self.workers = workers or 1

    def __enter__(self) -> PoolExecutor:
        config = self._config
        _connect(config)
        try:
            allowed = _capacity(config)
            if not allowed:
                raise ConfigError(
                    f"executor=ray: no node has executor.cores={config.cores}, executor.gpus="
                    f"{config.gpus:g} and executor.memory_gb={config.memory_gb}"
                )
            write_atomically(self._shared, "")
        except BaseException:
            ray.shutdown()
            raise
        self.workers = min(self._most or allowed, allowed)
        self._workers = [
            RayWorker(config, self._logs / f"{number}.log", self._shared)
            for number in range(self.workers)
        ]
        return super().__enter__()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """See ``PoolExecutor``; a cluster that was started here ends."""
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._shared.unlink(missing_ok=True)
            ray.shutdown()


def _connect(config: RayConfig) -> None:
    """Join a cluster, or start one on this machine."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # its warnings would go to the console
    try:
        if config.address:
            # Ray itself would wait several minutes for a cluster that does not exist.
            address = services.canonicalize_bootstrap_address(config.address)
            host, _, port = str(address).rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        else:
            # Otherwise, Ray writes a token to the home folder, and later clusters require it.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        with Interrupt():  # restores the handler of SIGTERM, which Ray replaces
            ray.init(
                address=config.address or "local",
                include_dashboard=None if config.address else False,
                configure_logging=False,
                log_to_driver=False,
            )
    except Exception as error:
        problem = "executor=ray: Ray does not start on this machine"
        if config.address:
            problem = f"executor.address={config.address}: there is no cluster of Ray"
        raise ConfigError(f"{problem}: {one_line(error)}") from None


def _capacity(config: RayConfig) -> int:
    """Return how many workers the nodes of the cluster can have at the same time."""
    wanted = {"CPU": config.cores, "GPU": config.gpus, "memory": (config.memory_gb or 0) * 2**30}
    count = 0
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        resources = node["Resources"] if node["Alive"] else {}
        fits = [resources.get(name, 0) / amount for name, amount in wanted.items() if amount > 0]
        count += int(min(fits) + 1e-9)  # 0.6 / 0.2 is less than 3
    return count
