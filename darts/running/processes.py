"""Execution of jobs in worker processes, each of which executes many jobs.

A new process takes seconds to import PyTorch, which is as long as a short run takes.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from darts.data_modules.data_module import keep_data
from darts.process import main_module_hidden
from darts.reading import one_line
from darts.running.execution import attempt, redirect_output
from darts.running.jobs import Job, Outcome, Reply
from darts.running.pool import PoolExecutor, Worker, WorkerDied
from darts.training.device import round_robin_gpu
from darts.training.interrupt import Interrupt
from darts.writing import WriteError

# Modules that runs import late, and that take long.
LATE_IMPORTS = ("scipy.sparse", "torch._dynamo")


def serve(
    number: int | None,
    threads: int | None,
    log: Path,
    own_group: bool,
    environment: dict[str, str],
    connection: Connection,
) -> None:
    """Execute the jobs that arrive on a connection, until its other end closes.

    SIGTERM stops the current job only. If the parent process is killed, the current run saves a
    checkpoint, and this process exits.

    Args:
        number: See ``prepare_process``.
        threads: See ``prepare_process``.
        log: File for the output outside of runs.
        own_group: Whether this process leaves the process group of its parent.
        environment: Variables of the parent.
        connection: Receives ``Job`` and sends ``Reply``; the first reply means that this process
            has started.
    """
    os.environ.update(environment)  # a fork has the variables with which its server started
    if own_group:
        os.setpgid(0, 0)
    prepare_process(number, threads)
    with suppress(EOFError, OSError):  # the other end has closed
        try:
            # This `Interrupt` records a signal that arrives just before or after a run.
            with redirect_output(log), Interrupt() as interrupt, keep_data():
                gc.collect()
                gc.freeze()  # makes later collections fast
                _execute_all(connection, interrupt)
        except OSError as error:  # the log cannot be written
            reason = error.strerror or one_line(error)
            connection.send(WriteError(error.errno, f"cannot write {log}: {reason}"))


def _execute_all(connection: Connection, interrupt: Interrupt) -> None:
    reply: Reply = None
    while True:
        connection.send(reply)
        reply = attempt(connection.recv())
        if reply is None:
            interrupt.received = None  # the signal has stopped this run, and stops no other


def prepare_process(number: int | None, threads: int | None) -> None:
    """Set the GPU and the threads of a worker; end it with its parent.

    The process receives SIGTERM when its parent process ends, even if that is killed.

    Args:
        number: Number of the worker on this machine, from 0; None to see all GPUs.
        threads: Threads of PyTorch; None for PyTorch's default.
    """
    if number is not None:
        os.environ.update(round_robin_gpu(number))  # before CUDA is initialized in this process
    if threads is not None:
        torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


class ProcessWorker(Worker):
    """A process of this machine that executes jobs.

    ``number`` decides which GPU it sees, see ``prepare_process``. ``threads`` is the number of
    threads of PyTorch; None stands for PyTorch's default. The log gets the output outside of runs.
    With ``own_group``, signals to the process group of its parent do not reach the process.
    """

    process: BaseProcess | None = None
    _connection: Connection

    def __init__(
        self, number: int | None, threads: int | None, log: Path, *, own_group: bool = False
    ) -> None:
        self.place, self._log = f"process {number or 0}", log
        self._arguments = (number, threads, log, own_group)

    def start(self) -> None:
        """Start the process, and wait for its imports."""
        self.end()  # the process that has died, if any
        context = _context()
        self._connection, other_end = context.Pipe()
        # Not a daemon, because loaders of the runs may start processes.
        process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=serve, args=(*self._arguments, dict(os.environ), other_end)
        )
        with ctrl_c_blocked(), main_module_hidden():
            process.start()
        self.process = process
        other_end.close()
        try:
            self._receive()
        except WorkerDied as death:
            raise WorkerDied(f"{death}; see {self._log}") from None

    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def run(self, job: Job) -> Outcome | None:
        try:
            self._connection.send(job)
        except ConnectionError:
            raise self._death() from None
        return self._receive()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def end(self) -> None:
        if self.process is not None:
            self._connection.close()
            self.process.join()

    def _receive(self) -> Outcome | None:
        try:
            reply: Reply = self._connection.recv()
        except (EOFError, OSError):  # OSError if the process dies while it sends
            raise self._death() from None
        if isinstance(reply, OSError):
            raise reply
        return reply

    def _death(self) -> WorkerDied:
        assert self.process is not None
        self.process.join()
        code = self.process.exitcode
        if code is None or code >= 0:
            return WorkerDied(f"exited with code {code}")
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return WorkerDied(f"was killed by {name}{hint}")


def _context() -> BaseContext:
    """Return how processes start: as forks of a server that has imported the libraries once.

    The server computes nothing, so it has no threads that a fork would lose.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *LATE_IMPORTS])
    return context


def start_server() -> None:
    """Begin to import what worker processes need, while this process does something else."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        with ctrl_c_blocked():
            ensure_running()


def threads_per_worker(workers: int) -> int | None:
    """Return an equal share of the threads of this process; None if OMP_NUM_THREADS sets it."""
    return None if "OMP_NUM_THREADS" in os.environ else max(1, torch.get_num_threads() // workers)


@contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Block Ctrl-C in this thread; a process that starts in the context never receives it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock the signal
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


class ProcessExecutor(PoolExecutor):
    """Executes jobs in worker processes.

    Each worker gets an equal share of the threads of this process, unless ``OMP_NUM_THREADS`` sets
    the number of threads of each worker. The GPUs are assigned to several workers in turn; a single
    one sees all of them.

    Workers ignore Ctrl-C, because this process stops them. If this process is killed, they save
    checkpoints and exit.

    Args:
        workers: Number of processes.
        log_directory: Folder for the output of workers outside of runs: ``0.log``, ``1.log``, ...
    """

    def __init__(self, workers: int, log_directory: Path) -> None:
        threads = threads_per_worker(workers)
        pool = [
            ProcessWorker(n if workers > 1 else None, threads, log_directory / f"{n}.log")
            for n in range(workers)
        ]
        super().__init__(pool, torch.get_num_threads())
