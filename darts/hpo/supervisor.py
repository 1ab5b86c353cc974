"""The supervisor of a study: evaluates several trials at a time, in threads of this process.

A thread waits while the run of its trial is executed elsewhere. Judges that do not train compute in
this process, one trial after the other. A clock measures the running time over all resumes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from threading import Thread

from optuna.study import Study
from optuna.trial import FrozenTrial

from darts.hpo.queue import initial_failures, requeue_running
from darts.hpo.study import StudyPlan
from darts.hpo.trials import failure_reason, finished_trials
from darts.hpo.worker import Worker
from darts.running.execution import InlineExecutor
from darts.running.executors import make_executor
from darts.running.jobs import Executor
from darts.training.interrupt import Interrupt, Interrupted

CLOCK = "seconds"  # user attribute of a study: its running time so far


class StudyClock:
    """Measures how long a study runs.

    The clock is monotonic, so a change of the system clock neither ends nor extends a study. If a
    study is killed, the time since the last ``save`` is lost. After ``hours``, no trial starts.

    Attributes:
        deadline: Value of ``time.monotonic()`` after which no trial starts.
    """

    def __init__(self, study: Study, hours: float = math.inf) -> None:
        self._study = study
        self._start = time.monotonic()
        self._previous = float(study.user_attrs.get(CLOCK, 0.0))
        self.deadline = self._start + 3600 * hours - self._previous

    @property
    def seconds(self) -> float:
        """Running time in seconds, including the time before the study was resumed."""
        return self._previous + time.monotonic() - self._start

    def save(self) -> None:
        """Store the running time in the study."""
        self._study.set_user_attr(CLOCK, self.seconds)


_POLL = 0.2  # seconds between two checks of the trials
_PATIENCE = 10.0  # seconds in which threads may queue their trials again after a signal


class Supervisor:
    """Runs a study.

    Args:
        plan: The study.
        study: The study, opened.
        on_trial_end: Called once for each trial that finishes from now on.
        deadline: Value of ``time.monotonic()`` after which no trial starts.
    """

    def __init__(
        self,
        plan: StudyPlan,
        study: Study,
        on_trial_end: Callable[[FrozenTrial], None],
        *,
        deadline: float = math.inf,
    ) -> None:
        self._plan, self._study = plan, study
        self._on_trial_end, self._deadline = on_trial_end, deadline
        trials = study.get_trials(deepcopy=False)
        self._reported = {trial.number for trial in finished_trials(trials)}
        self._stopping = False
        self.executor: Executor = InlineExecutor()
        if plan.config.judge.trains:
            self.executor = make_executor(plan.config.executor, plan.config.workers, plan.directory)

    def run(self, on_poll: Callable[[list[FrozenTrial]], object] = lambda trials: None) -> int:
        """Run until the study has enough trials, its time is over or a signal arrives.

        ``on_poll`` is called with all trials, several times per second. Return the number of the
        signal, or 0. Raise ValueError if the first trials all failed, and ExecutorError if runs
        cannot be executed.
        """
        if self._plan.config.storage is None:  # only this process evaluates trials
            requeue_running(self._study)
        with Interrupt() as interrupt:
            try:
                if isinstance(self.executor, InlineExecutor):
                    worker = Worker(self._plan, self._study, self.executor)
                    while not interrupt.received and self._step(worker):
                        on_poll(self._poll())
                else:
                    self._run_in_threads(interrupt, on_poll)
            except Interrupted as error:  # from a run in this process; its code is 128 + signal
                return int(str(error.code)) - 128
            finally:
                self._poll()
            return interrupt.received or 0

    def _run_in_threads(
        self, interrupt: Interrupt, on_poll: Callable[[list[FrozenTrial]], object]
    ) -> None:
        threads: list[Future[None]] = []
        try:
            # The end of the executor cancels the runs for which the threads wait, and later ones.
            with self.executor:
                threads += [self._start_thread() for _ in range(self.executor.workers)]
                running = set(threads)
                try:
                    while running and not interrupt.received:
                        ended, running = wait(running, _POLL)
                        on_poll(self._poll())
                        for thread in ended:
                            thread.result()
                finally:
                    self._stopping = True
        finally:
            wait(threads, _PATIENCE)

    def _start_thread(self) -> Future[None]:
        """Evaluate trials in a new thread; return a future that ends with the thread."""
        thread: Future[None] = Future()

        def work() -> None:
            try:
                worker = Worker(self._plan, self._study, self.executor)
                while not self._stopping and self._step(worker):
                    pass
            except BaseException as error:
                if not (self._stopping and isinstance(error, CancelledError)):
                    thread.set_exception(error)
                    return
            thread.set_result(None)

        # Python waits for the end of other threads, also after a second Ctrl-C, and this one may be
        # computing a proposal.
        Thread(target=work, daemon=True).start()
        return thread

    def _step(self, worker: Worker) -> bool:
        return time.monotonic() < self._deadline and worker.step()

    def _poll(self) -> list[FrozenTrial]:
        """Report the trials that have finished; return all trials."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in finished_trials(trials):
            if trial.number not in self._reported:
                self._reported.add(trial.number)
                self._on_trial_end(trial)
        if failed := initial_failures(trials):
            raise ValueError(
                f"the first {len(failed)} trials all failed; trial {failed[0].number}: "
                f"{failure_reason(failed[0])}; see {self._plan.directory / 'trials'}"
            )
        return trials
