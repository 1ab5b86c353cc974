"""Execution of jobs in worker processes, each of which executes many jobs.

A new process takes seconds to import PyTorch, which is as long as a short run takes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import LifoQueue
from weakref import WeakSet

import torch

from darts.running import worker_process
from darts.running.execution import earlier_outcome
from darts.running.jobs import Executor, Future, Job, Outcome

MAX_DEATHS = 2  # of workers, until their job has failed
MAX_FAILED_STARTS = 3  # in a row, until a job raises an error


class Worker:
    """A process that executes jobs, one after the other, and its successor if it dies.

    ``number`` decides which GPU it sees, see ``prepare_process``. ``threads`` is the number of
    threads of PyTorch; None stands for PyTorch's default.
    """

    process: BaseProcess
    _connection: Connection
    _ready: bool  # whether the process has finished its imports

    def __init__(self, number: int | None, threads: int | None, log: Path) -> None:
        self._arguments = (number, threads, log)

    def start(self) -> None:
        """Start the process, without waiting for its imports."""
        context = _context()
        self._ready = False
        self._connection, other_end = context.Pipe()
        # Not a daemon, because loaders of the runs may start processes.
        arguments = (*self._arguments, other_end)
        self.process = context.Process(  # type: ignore[attr-defined]
            target=worker_process.main, args=arguments
        )
        with _ctrl_c_blocked():
            self.process.start()
        other_end.close()

    def end(self) -> None:
        """Wait for the end of the process; it ends after the current run."""
        self._connection.close()
        self.process.join()

    def run(self, future: Future) -> Outcome:
        """Execute a job, in new processes if necessary.

        Raises:
            CancelledError: If the job was cancelled.
            ValueError: If the process dies repeatedly while it starts.
            WriteError: If the machine failed, for example because the disk is full.
        """
        deaths = failed_starts = 0
        while not future.stopping:
            if not self.process.is_alive():
                self.end()
                self.start()
            outcome = None
            try:
                if not self._ready:
                    self._receive()
                    self._ready = True
                future.stop = self.process.terminate
                if not future.stopping:
                    self._connection.send(future.job)
                    outcome = self._receive()
            except (EOFError, ConnectionError):
                self.end()
                reason = describe_exit(self.process.exitcode)
                if self._ready:
                    deaths += 1
                    outcome = earlier_outcome(future.job)  # it may have died at the very end
                    if outcome is None and deaths == MAX_DEATHS:
                        outcome = Outcome(None, f"its worker {reason}")
                else:
                    failed_starts += 1
                    if failed_starts == MAX_FAILED_STARTS:
                        raise ValueError(
                            f"{failed_starts} workers in a row died while they started; the last "
                            f"one {reason}; see {self._arguments[-1].parent}"
                        ) from None
            if outcome is not None:
                return outcome
            # A signal has stopped the run. Unless it came from `cancel`, the run continues.
        raise CancelledError

    def _receive(self) -> Outcome | None:
        reply: worker_process.Reply = self._connection.recv()
        if isinstance(reply, OSError):
            raise reply
        return reply


def _context() -> BaseContext:
    """Return how processes start: as forks of a server that has imported the libraries once.

    The server computes nothing, so it has no threads that a fork would lose.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([worker_process.__name__, *worker_process.LATE_IMPORTS])
    return context


def start_server() -> None:
    """Begin to import what worker processes need, while this process does something else."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        with _ctrl_c_blocked():
            ensure_running()


def threads_per_worker(workers: int) -> int | None:
    """Return an equal share of the threads of this process; None if OMP_NUM_THREADS sets it."""
    return None if "OMP_NUM_THREADS" in os.environ else max(1, torch.get_num_threads() // workers)


def describe_exit(code: int | None) -> str:
    """Return how a process ended, as a verb phrase; a code of ``-n`` means signal ``n``."""
    if code is None or code >= 0:
        return f"exited with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
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


class ProcessExecutor(Executor):
    """Executes jobs in worker processes.

    Entering the context starts the workers, which import PyTorch while this process continues. Each
    worker gets an equal share of the threads of this process, unless ``OMP_NUM_THREADS`` sets the
    number of threads of each worker. The GPUs are assigned to several workers in turn; a single one
    sees all of them. A job whose worker dies is continued once in a new worker.

    Leaving the context cancels all jobs and ends the workers, at once after Ctrl-C. Workers ignore
    Ctrl-C, because this process stops them. If this process is killed, they save checkpoints and
    exit.

    Args:
        workers: Number of processes.
        log_directory: Folder for the output of workers outside of runs: ``0.log``, ``1.log``, ...
    """

    def __init__(self, workers: int, log_directory: Path) -> None:
        self.workers = workers
        threads = threads_per_worker(workers)
        self._workers = [
            Worker(n if workers > 1 else None, threads, log_directory / f"{n}.log")
            for n in range(workers)
        ]
        self._idle: LifoQueue[Worker] = LifoQueue()
        self._threads = ThreadPoolExecutor(workers)  # each waits for the job of one worker
        self._futures = WeakSet[Future]()

    def submit(self, job: Job) -> Future:
        """See ``Executor``."""
        future = Future(job)
        outcome = earlier_outcome(job)
        if outcome is not None:
            future.set_result(outcome)
        else:
            self._futures.add(future)
            self._threads.submit(self._run, future)
        return future

    def _run(self, future: Future) -> None:
        if not future.set_running_or_notify_cancel():
            return
        idle = self._idle.get()
        try:
            outcome = idle.run(future)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(outcome)
        finally:
            self._idle.put(idle)

    def __enter__(self) -> ProcessExecutor:
        for idle in reversed(self._workers):
            idle.start()
            self._idle.put(idle)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Cancel all jobs and end all workers; kill them after Ctrl-C during this call."""
        for future in list(self._futures):
            future.cancel()
        for each in self._workers:  # also those that have not started yet
            each.process.terminate()
        try:
            self._close(kill=isinstance(error, KeyboardInterrupt))
        except KeyboardInterrupt:
            self._close(kill=True)
            raise

    def _close(self, *, kill: bool) -> None:
        for each in self._workers if kill else ():
            each.process.kill()
        self._threads.shutdown()
        for each in self._workers:
            each.end()
