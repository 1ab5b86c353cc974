"""Execution of jobs in worker processes, each of which executes many jobs.

A new process takes seconds to import PyTorch, which is as long as a short run takes.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import LifoQueue
from weakref import WeakSet

import torch

from darts.running.execution import earlier_outcome
from darts.running.jobs import Executor, Future, Job
from darts.running.worker import Worker


class ProcessExecutor(Executor):
    """Executes jobs in worker processes.

    Entering the context starts the workers, which import PyTorch while this process continues. Each
    worker gets an equal share of the threads of this process, unless ``OMP_NUM_THREADS`` sets the
    number of threads of each worker. The GPUs are assigned to the workers in turn. A job whose
    worker dies is continued once in a new worker.

    Leaving the context cancels all jobs and ends the workers, at once after Ctrl-C. Workers ignore
    Ctrl-C, because this process stops them. If this process is killed, they save checkpoints and
    exit.

    Args:
        workers: Number of processes.
        log_directory: Folder for the output of workers outside of runs: ``0.log``, ``1.log``, ...
    """

    def __init__(self, workers: int, log_directory: Path) -> None:
        self.workers = workers
        threads = None  # PyTorch reads OMP_NUM_THREADS
        if "OMP_NUM_THREADS" not in os.environ:
            threads = max(1, torch.get_num_threads() // workers)
        self._workers = [Worker(n, threads, log_directory) for n in range(workers)]
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
        """Cancel all jobs and end all workers.

        Raises:
            KeyboardInterrupt: After Ctrl-C during this call; the workers are killed then.
        """
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
