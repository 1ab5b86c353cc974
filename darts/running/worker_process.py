"""The process of a ``Worker``."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeAlias

import torch

from darts.data_modules.data_module import keep_data
from darts.reading import one_line
from darts.running.execution import execute, redirect_output
from darts.running.jobs import Outcome
from darts.training.device import round_robin_gpu
from darts.training.interrupt import Interrupt, Interrupted
from darts.writing import WriteError

LATE_IMPORTS = ("scipy.sparse", "torch._dynamo")
"""Modules that runs import late, and that take long."""

Reply: TypeAlias = "Outcome | OSError | None"
"""How a job ended: None if a signal has stopped it, an error if the machine failed."""


def main(number: int, threads: int | None, log: Path, connection: Connection) -> None:
    """Execute the jobs that arrive on a connection, until its other end closes.

    SIGTERM stops the current job only. If the parent process is killed, the current run saves a
    checkpoint, and this process exits. The connection receives ``Job`` and sends ``Reply``; the
    first reply means that this process has started.
    """
    with suppress(EOFError, OSError):  # the other end has closed
        try:
            # This `Interrupt` records a signal that arrives just before or after a run.
            with worker_environment(number, threads, log) as interrupt, keep_data():
                gc.collect()
                gc.freeze()  # makes later collections fast
                _serve(connection, interrupt)
        except OSError as error:  # the log cannot be written
            reason = error.strerror or one_line(error)
            connection.send(WriteError(error.errno, f"cannot write {log}: {reason}"))


def _serve(connection: Connection, interrupt: Interrupt) -> None:
    reply: Reply = None
    while True:
        connection.send(reply)
        job = connection.recv()
        try:
            reply = execute(job)
        except Interrupted:
            interrupt.received = None  # the signal has stopped this run, and stops no other
            reply = None
        except OSError as error:
            reply = error


def threads_per_worker(workers: int) -> int | None:
    """Return the threads of PyTorch in each of several workers; None for PyTorch's default."""
    if "OMP_NUM_THREADS" in os.environ:  # PyTorch reads it
        return None
    return max(1, torch.get_num_threads() // workers)


@contextmanager
def worker_environment(number: int, threads: int | None, log: Path) -> Iterator[Interrupt]:
    """Prepare the process of a worker: its GPU, threads and signals, and a log for its output.

    ``number`` counts the workers of a machine from 0. When the parent process ends, even if it is
    killed, this process gets SIGTERM.
    """
    os.environ.update(round_robin_gpu(number))  # before CUDA is initialized in this process
    if threads is not None:
        torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    with redirect_output(log), Interrupt() as interrupt:
        yield interrupt


def _end_with(parent: int) -> None:
    wait([parent])
    os.kill(os.getpid(), signal.SIGTERM)
