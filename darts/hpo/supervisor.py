"""The supervisor of a study: starts, replaces and stops its worker processes on one machine."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.queue import fail_and_requeue, initial_failures, is_over
from darts.hpo.store import storage_errors
from darts.hpo.study import StudyPlan
from darts.hpo.trials import WORKER, failure_reason, finished_trials
from darts.hpo.worker import Worker
from darts.reading import one_line
from darts.running.execution import redirect_output
from darts.running.processes import describe_exit, threads_per_worker
from darts.running.worker_process import prepare_process
from darts.training.interrupt import Interrupt, Interrupted
from darts.writing import WriteError, is_machine_failure

MACHINE_FAILED = 4  # exit code of a worker process that could not write
MAX_LOST_WORKERS = 5  # the study ends if this many workers in a row die without a finished trial


class Supervisor:
    """Runs a study with worker processes, or in this process if ``workers=0``.

    Args:
        on_trial_end: Called once for each trial when it has finished.
        deadline: Value of ``time.monotonic()`` after which no trial starts.
        reported: Numbers of trials for which ``on_trial_end`` is not called.
    """

    def __init__(
        self,
        plan: StudyPlan,
        study: Study,
        on_trial_end: Callable[[FrozenTrial], None],
        *,
        deadline: float = math.inf,
        reported: Iterable[int] = (),
    ) -> None:
        self._plan, self._study = plan, study
        self._on_trial_end, self._deadline = on_trial_end, deadline
        self._reported = set(reported)
        self._workers: dict[str, tuple[int, BaseProcess]] = {}
        in_process = plan.config.workers == 0
        self._local_worker = Worker(plan, study, secrets.token_hex(4)) if in_process else None
        self._lost_in_a_row = 0

    def run(self, on_poll: Callable[[list[FrozenTrial]], object] = lambda trials: None) -> int:
        """Run until the study has enough trials, its time is over or a signal arrives.

        ``on_poll`` is called with all trials, several times per second. Return the number of the
        signal, or 0. Raise ValueError if the first trials all failed or too many workers in a row
        died, and WriteError if a worker could not write.
        """
        with Interrupt() as interrupt:
            try:
                while not interrupt.received:
                    trials = self._poll()
                    on_poll(trials)
                    self._check_progress(trials)
                    late = time.monotonic() >= self._deadline
                    unfinished = not late and not is_over(self._plan, trials)
                    if not unfinished and not self._workers:
                        break
                    self._work(start_workers=unfinished)
            except Interrupted as error:  # from a trial in this process; its code is 128 + signal
                return int(str(error.code)) - 128
            finally:
                self._stop_workers()
                self._poll()
            return interrupt.received or 0

    def _stop_workers(self) -> None:
        """Let workers save and exit; a second Ctrl-C ends them at once."""
        processes = [process for _, process in self._workers.values()]
        try:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
        except KeyboardInterrupt:
            for process in processes:
                process.kill()
                process.join()
            raise

    def _work(self, *, start_workers: bool) -> None:
        """Start missing workers and wait briefly; with ``workers=0``, step a local worker."""
        if self._local_worker is not None:
            self._local_worker.step()
            return
        count = self._plan.config.workers
        free = set(range(count)) - {number for number, _ in self._workers.values()}
        for number in sorted(free) if start_workers else ():
            self._start(number)
        time.sleep(0.2)

    def _start(self, number: int) -> None:
        name = f"{number}-{secrets.token_hex(4)}"
        threads = threads_per_worker(self._plan.config.workers)
        arguments = (self._plan, name, number, threads, self._deadline)
        process = multiprocessing.get_context("spawn").Process(target=worker_main, args=arguments)
        process.start()
        self._workers[name] = (number, process)

    def _poll(self) -> list[FrozenTrial]:
        dead = {name: own for name, own in self._workers.items() if not own[1].is_alive()}
        trials = self._study.get_trials(deepcopy=False)
        for name, (number, process) in dead.items():
            del self._workers[name]
            started = [trial for trial in trials if trial.user_attrs.get(WORKER) == name]
            for trial in started:
                if trial.state == TrialState.RUNNING:
                    reason = f"its worker {describe_exit(process.exitcode)}"
                    fail_and_requeue(self._study, trial, reason, self._plan.config.retries)
            if process.exitcode == MACHINE_FAILED:
                log = self._plan.directory / "workers" / f"{number}.log"
                raise WriteError(errno.EIO, f"worker {number} could not write; see {log}")
            if process.exitcode and not any(trial.state.is_finished() for trial in started):
                self._lost_in_a_row += 1
        if dead:
            trials = self._study.get_trials(deepcopy=False)
        for trial in finished_trials(trials):
            if trial.number not in self._reported:
                self._reported.add(trial.number)
                self._on_trial_end(trial)
                self._lost_in_a_row = 0
        return trials

    def _check_progress(self, trials: list[FrozenTrial]) -> None:
        if failed := initial_failures(trials):
            raise ValueError(
                f"the first {len(failed)} trials all failed; trial {failed[0].number}: "
                f"{failure_reason(failed[0])}; see {self._plan.directory / 'trials'}"
            )
        if self._lost_in_a_row >= MAX_LOST_WORKERS:
            raise ValueError(
                f"{MAX_LOST_WORKERS} workers in a row died without finishing a trial; see "
                f"{self._plan.directory / 'workers'}"
            )


def worker_main(
    plan: StudyPlan, name: str, number: int, threads: int | None, deadline: float
) -> None:
    """Evaluate trials of a study: the main function of a worker's process.

    ``name`` is unique and stored in the worker's trials, ``number`` counts the workers on this
    machine from 0. All processes of a machine share ``time.monotonic()``, see ``Supervisor``.
    """
    prepare_process(number, threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    log = plan.directory / "workers" / f"{number}.log"
    with redirect_output(log), Interrupt() as interrupt:
        try:
            with storage_errors(plan.storage):
                worker = Worker(plan, plan.open(existing=True), name)
                while not interrupt.received:
                    if time.monotonic() >= deadline or not worker.step():
                        break
        except KeyboardInterrupt:  # a second Ctrl-C
            os._exit(128 + signal.SIGINT)
        except OSError as error:
            if not is_machine_failure(error):
                raise
            print(one_line(error), file=sys.stderr, flush=True)
            raise SystemExit(MACHINE_FAILED) from None
