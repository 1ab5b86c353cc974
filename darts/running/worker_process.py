"""The process of a ``Worker``."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from darts.data_modules.data_module import keep_data
from darts.reading import one_line
from darts.running.execution import attempt, redirect_output
from darts.running.jobs import Reply
from darts.training.device import round_robin_gpu
from darts.training.interrupt import Interrupt
from darts.writing import WriteError

LATE_IMPORTS = ("scipy.sparse", "torch._dynamo")
"""Modules that runs import late, and that take long."""


def main(
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
                _serve(connection, interrupt)
        except OSError as error:  # the log cannot be written
            reason = error.strerror or one_line(error)
            connection.send(WriteError(error.errno, f"cannot write {log}: {reason}"))


def _serve(connection: Connection, interrupt: Interrupt) -> None:
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
