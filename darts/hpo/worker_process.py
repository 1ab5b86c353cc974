"""The process of a worker: its devices, its log, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time

import optuna
import torch

from darts.hpo.store import storage_errors
from darts.hpo.study import StudyPlan
from darts.hpo.worker import Worker, redirect_output
from darts.reading import one_line
from darts.running.worker_process import exit_with_parent
from darts.training.device import round_robin_gpu
from darts.training.interrupt import Interrupt
from darts.writing import is_machine_failure

MACHINE_FAILED = 4  # exit code of a process that could not write


def worker_main(
    plan: StudyPlan, name: str, number: int, threads: int | None, deadline: float | None
) -> None:
    """Evaluate trials of a study: the main function of a worker's process.

    Args:
        plan: Plan of the study.
        name: Unique name of the worker, stored in its trials.
        number: Number of the worker on this machine, from 0.
        threads: Number of threads of PyTorch; None for PyTorch's default.
        deadline: Value of ``time.monotonic()``, which is the same in all processes of a machine,
            after which no trial starts; None for no limit.
    """
    os.environ.update(round_robin_gpu(number))  # before CUDA is initialized in this process
    if threads is not None:
        torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    exit_with_parent()
    log = plan.directory / "workers" / f"{number}.log"
    with redirect_output(log), Interrupt() as interrupt:
        try:
            with storage_errors(plan.storage):
                worker = Worker(plan, plan.open(existing=True), name)
                while not interrupt.received:
                    late = deadline is not None and time.monotonic() >= deadline
                    if late or not worker.step():
                        break
        except KeyboardInterrupt:  # a second Ctrl-C
            os._exit(128 + signal.SIGINT)
        except OSError as error:
            if not is_machine_failure(error):
                raise
            print(one_line(error), file=sys.stderr, flush=True)
            raise SystemExit(MACHINE_FAILED) from None
