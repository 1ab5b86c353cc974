"""The supervisor of a study's workers on one machine: starts them, misses them, tells of trials."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess

import torch
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.store import counted, give_up
from darts.hpo.study import WORKER, Plan, failure_of
from darts.hpo.worker import HOPELESS, Worker, needed, work
from darts.training.interrupt import Interrupt, Interrupted

PATIENCE = 5
"""So many workers in a row that end without having finished a trial end the study."""


class Supervisor:
    """Runs a study with workers of its own, or with ``workers=0`` in this process.

    Args:
        plan: of the study.
        study: opened.
        say: is called with each trial that has ended, once.
        deadline: when to begin no more trials, in seconds since the epoch; None for never.
        told: numbers of trials that ended in an earlier session.
    """

    def __init__(
        self,
        plan: Plan,
        study: Study,
        say: Callable[[FrozenTrial], None],
        *,
        deadline: float | None = None,
        told: Iterable[int] = (),
    ) -> None:
        self._plan, self._study, self._say, self._deadline = plan, study, say, deadline
        self._workers: dict[str, tuple[int, BaseProcess]] = {}
        self._told = set(told)
        self._own: Worker | None = None
        self._lost_in_a_row = 0
        self._context = multiprocessing.get_context("spawn")

    def run(self, each: Callable[[list[FrozenTrial]], None] | None = None) -> int:
        """Work until the study has enough trials, the time is up or a signal comes.

        Args:
            each: is called now and then with all trials.

        Returns:
            The number of the signal, or 0.

        Raises:
            ValueError: when all of the first trials failed, or workers die one after the other.
        """
        with Interrupt() as interrupt:
            try:
                while not interrupt.received:
                    trials = self._look()
                    if each is not None:
                        each(trials)
                    self._refuse_the_hopeless(trials)
                    late = self._deadline is not None and time.time() >= self._deadline
                    more = not late and needed(self._plan, trials) != "no more"
                    if not more and not self._workers:
                        break
                    self._go_on(more)
            except Interrupted as leaving:  # out of a trial in this process
                return int(str(leaving.code)) - 128
            finally:
                self._end()
                self._look()
            return interrupt.received or 0

    def _go_on(self, more: bool) -> None:
        """See that there are workers, or be one."""
        count = self._plan.config.workers
        if count == 0:
            self._own = self._own or Worker(self._plan, self._study, secrets.token_hex(4))
            self._own.step()
            return
        free = set(range(count)) - {number for number, _ in self._workers.values()}
        for number in sorted(free) if more else ():
            self._start(number)
        time.sleep(0.2)

    def _start(self, number: int) -> None:
        name = f"{number}-{secrets.token_hex(4)}"
        threads = None  # as the user says
        if "OMP_NUM_THREADS" not in os.environ:
            threads = max(1, torch.get_num_threads() // self._plan.config.workers)
        process = self._context.Process(
            target=work, args=(self._plan, name, number, threads, self._deadline)
        )
        process.start()
        self._workers[name] = (number, process)

    def _look(self) -> list[FrozenTrial]:
        """Miss workers that are gone, and tell of trials that have ended."""
        gone = {n: p for n, (_, p) in self._workers.items() if not p.is_alive()}
        trials = self._study.get_trials(deepcopy=False)
        for name, process in gone.items():
            del self._workers[name]
            own = [t for t in trials if t.user_attrs.get(WORKER) == name]
            for trial in own:
                if trial.state == TrialState.RUNNING:
                    reason = f"its worker {_end_of(process.exitcode)}"
                    give_up(self._study, trial, reason, self._plan.config.retries)
            if process.exitcode and not any(trial.state.is_finished() for trial in own):
                self._lost_in_a_row += 1
        if gone:
            trials = self._study.get_trials(deepcopy=False)
        for trial in counted(trials):
            if trial.state.is_finished() and trial.number not in self._told:
                self._told.add(trial.number)
                self._say(trial)
                self._lost_in_a_row = 0
        return trials

    def _refuse_the_hopeless(self, trials: list[FrozenTrial]) -> None:
        ended = [trial for trial in counted(trials) if trial.state.is_finished()]
        if len(ended) >= HOPELESS and all(trial.state == TrialState.FAIL for trial in ended):
            raise ValueError(
                f"the first {len(ended)} trials all failed; trial {ended[0].number}: "
                f"{failure_of(ended[0])}; see {self._plan.directory / 'trials'}"
            )
        if self._lost_in_a_row >= PATIENCE:
            raise ValueError(
                f"{PATIENCE} workers ended one after the other without a trial; see "
                f"{self._plan.directory / 'workers'}"
            )

    def _end(self) -> None:
        """Ask the workers that are left to save and leave, and wait for them."""
        for _, process in self._workers.values():
            process.terminate()
        for _, process in self._workers.values():
            process.join()


def _end_of(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    more = " (out of memory?)" if name == "SIGKILL" else ""
    return f"was ended by {name}{more}"
