"""Execute many searches and retrainings in a few persistent worker processes.

A new process takes seconds to import PyTorch, which is as long as a short run takes. The workers
therefore live as long as the pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType

import torch

from darts.finding.run_queue import RunQueue
from darts.finding.run_worker import (
    Ended,
    Job,
    MachineFailed,
    Message,
    Outcome,
    execute,
    worker_main,
)
from darts.hpo.supervisor import describe_exit
from darts.training.interrupt import Interrupted
from darts.writing import WriteError

__all__ = ["Job", "Outcome", "RunPool"]

MAX_FAILED_STARTS = 3  # the pool gives up if this many workers in a row die while they start

_POLL = 0.2  # seconds between two calls of ``stopping``


@dataclass
class _Worker:
    """A worker process and its state, as the pool knows it."""

    number: int
    process: BaseProcess
    connection: Connection
    ready: bool = False  # whether it has started
    job: Job | None = None  # the current run

    def receive(self) -> Message | None:
        """Return the next message, or None if there is none, or if the process has died."""
        try:
            message: Message | None = self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            return None
        return message

    def take_job(self) -> Job | None:
        """Return the current job, and mark the worker as idle."""
        job, self.job = self.job, None
        return job


class RunPool:
    """Executes runs in worker processes, or in this process if ``workers=0``; a context manager.

    Entering the context starts the workers, which import PyTorch while this process continues. Each
    worker gets an equal share of the threads of this process, unless ``OMP_NUM_THREADS`` sets the
    number of threads of each worker. The GPUs are assigned to the workers in turn. Leaving the
    context ends the workers. Runs in progress save a checkpoint first, except after a second
    Ctrl-C.

    Workers ignore Ctrl-C, because this process stops them. If this process is killed, they save a
    checkpoint and exit.

    Args:
        workers: Number of processes.
        log_directory: Folder for the output of workers outside of runs: ``0.log``, ``1.log``, ...
    """

    def __init__(self, workers: int, log_directory: Path) -> None:
        self._count, self._log_directory = workers, log_directory
        self._workers: dict[int, _Worker] = {}  # by number
        self._failed_starts = 0  # in a row

    def run(
        self,
        jobs: Sequence[Job],
        *,
        on_done: Callable[[Job, Outcome], None],
        stopping: Callable[[], bool],
    ) -> dict[str, Outcome]:
        """Execute all runs that have not ended yet, in the given order, and return all outcomes.

        An interrupted run is resumed. A run whose worker is killed is resumed once; if this happens
        again, it has failed. A run that has diverged is not repeated.

        Args:
            jobs: Runs with unique names and directories.
            on_done: Called in this thread after each run that ends now, whether it failed or not.
            stopping: Returns whether to stop; called several times per second, but with
                ``workers=0`` only between two runs. If it returns True, the runs in progress save a
                checkpoint and stop. A later call of ``run`` continues them.

        Returns:
            Outcomes by name of the job; runs that were stopped or never started are missing.

        Raises:
            Interrupted: With ``workers=0``, if a signal arrived and ``stopping`` returns False.
            ValueError: If two jobs share a name or a directory, or if the workers cannot start.
            WriteError: If a run could not write, for example because the disk is full.
        """
        count = len(jobs)
        if len({job.name for job in jobs}) < count or len({job.directory for job in jobs}) < count:
            raise ValueError("two jobs have the same name or the same directory")
        queue = RunQueue(jobs, on_done)
        if self._count == 0:
            _run_here(queue, stopping)
        else:
            self._run_in_workers(queue, stopping)
        return queue.outcomes

    def _run_in_workers(self, queue: RunQueue, stopping: Callable[[], bool]) -> None:
        while True:
            if not queue.stopped and stopping():
                queue.stop()
                for worker in self._busy():
                    worker.process.terminate()
            if not queue.waiting and not self._busy():
                return
            if queue.waiting:
                self._start_missing(len(queue.waiting) + len(self._busy()))
                self._assign(queue)
            workers = list(self._workers.values())
            connections = [worker.connection for worker in workers]
            wait([*connections, *(worker.process.sentinel for worker in workers)], _POLL)
            for worker in workers:
                alive = worker.process.is_alive()  # checked first, so that no last message is lost
                while (message := worker.receive()) is not None:
                    self._handle(worker, message, queue)
                if not alive:
                    self._remove_dead(worker, queue)

    def _busy(self) -> list[_Worker]:
        """Return the workers that execute a run."""
        return [worker for worker in self._workers.values() if worker.job is not None]

    def _assign(self, queue: RunQueue) -> None:
        """Send waiting jobs to idle workers."""
        for worker in self._workers.values():
            if queue.waiting and worker.ready and worker.job is None:
                with suppress(BrokenPipeError, ConnectionResetError):  # the worker has died
                    worker.connection.send(queue.waiting[0])
                    worker.job = queue.waiting.popleft()

    def _handle(self, worker: _Worker, message: Message, queue: RunQueue) -> None:
        """Handle a message of a worker.

        Raises:
            WriteError: If the worker could not write.
        """
        job = worker.take_job()
        if isinstance(message, MachineFailed):
            raise WriteError(message.number, message.text)
        if not isinstance(message, Ended):
            worker.ready, self._failed_starts = True, 0
        elif job is not None and message.outcome is None:
            queue.put_back(job)
        elif job is not None and message.outcome is not None:
            queue.finish(job, message.outcome)

    def _remove_dead(self, worker: _Worker, queue: RunQueue) -> None:
        """Forget a worker that has died, and continue its run elsewhere.

        Raises:
            ValueError: If too many workers in a row have died while they started.
        """
        worker.process.join()
        worker.connection.close()
        del self._workers[worker.number]
        reason = f"its worker {describe_exit(worker.process.exitcode)}"
        job = worker.take_job()
        if job is not None:
            queue.lose(job, reason)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise ValueError(
                    f"{MAX_FAILED_STARTS} workers in a row died while they started; the last one "
                    f"{describe_exit(worker.process.exitcode)}; see {self._log_directory}"
                )

    def _start_missing(self, needed: int) -> None:
        """Start workers until there are as many as needed, but not more than allowed."""
        for number in range(self._count):
            if number not in self._workers and len(self._workers) < needed:
                self._start(number)

    def _start(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        threads = None  # PyTorch reads OMP_NUM_THREADS
        if "OMP_NUM_THREADS" not in os.environ:
            threads = max(1, torch.get_num_threads() // self._count)
        own_end, worker_end = context.Pipe()
        arguments = (number, threads, self._log_directory / f"{number}.log", worker_end)
        # Not a daemon, because loaders of the runs may start processes.
        process = context.Process(target=worker_main, args=arguments)
        with _ctrl_c_blocked():
            process.start()
        worker_end.close()
        self._workers[number] = _Worker(number, process, own_end)

    def __enter__(self) -> RunPool:
        self._start_missing(self._count)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all workers.

        Raises:
            KeyboardInterrupt: After Ctrl-C during this call; the workers are killed then.
        """
        processes = [worker.process for worker in self._workers.values()]
        try:
            for worker in self._workers.values():
                worker.connection.close()
                worker.process.terminate()
            if isinstance(error, KeyboardInterrupt):
                _kill(processes)
            for process in processes:
                process.join()
        except KeyboardInterrupt:
            _kill(processes)
            raise
        finally:
            self._workers.clear()


def _run_here(queue: RunQueue, stopping: Callable[[], bool]) -> None:
    """Execute jobs in this process."""
    while queue.waiting and not stopping():
        job = queue.waiting.popleft()
        try:
            outcome = execute(job)
        except Interrupted:
            if not stopping():
                raise
            return
        queue.finish(job, outcome)


def _kill(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.kill()
        process.join()


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
