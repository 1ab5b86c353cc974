"""An executor that replaces searches and retrainings with the script ``fake_run.py``."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

from darts.config.many_runs import ExecutorConfig
from darts.running.execution import earlier_outcome
from darts.running.jobs import Executor, Future, Job, Outcome

SCRIPT = Path(__file__).parent / "commands" / "fake_run.py"


def make_fake_executor(config: ExecutorConfig, workers: int, directory: Path) -> FakeExecutor:
    return FakeExecutor(workers)


class FakeExecutor(Executor):
    """Executes jobs as fake runs, each in its own process."""

    threads = 1

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._threads = ThreadPoolExecutor(workers)
        self._futures: list[Future] = []
        self._lock, self._ended = threading.Lock(), False

    def submit(self, job: Job) -> Future:
        future = Future(job)
        with self._lock:
            if self._ended:
                future.set_exception(CancelledError())
            else:
                self._futures.append(future)
                self._threads.submit(self._run, future)
        return future

    def _run(self, future: Future) -> None:
        try:
            if future.stopping:
                raise CancelledError
            outcome = earlier_outcome(future.job) or self._execute(future)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(outcome)

    def _execute(self, future: Future) -> Outcome:
        job = future.job
        arguments = [*job.overrides, f"hydra.run.dir={job.directory}"]
        if (job.directory / "config.yaml").exists():
            arguments = [f"resume={job.directory}"]
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(SCRIPT), job.command, *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        future.stop = process.terminate
        if future.stopping:
            process.terminate()
        _, errors = process.communicate()
        outcome = earlier_outcome(job)
        if outcome is None and future.stopping:
            raise CancelledError
        return outcome or Outcome(None, errors.strip().rpartition("\n")[2])

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._ended = True
        for future in self._futures:
            future.cancel()
        self._threads.shutdown()
