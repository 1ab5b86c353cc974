"""A worker process of a ``RunPool``: executes searches and retrainings, one after the other.

After each run, the state of the process is restored, so the next run computes the same as in a new
process.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from darts.comparing.runs import is_complete, log_file, read_divergence, read_summary
from darts.config import ConfigError
from darts.hpo.worker import error_summary, redirect_output
from darts.hpo.worker_process import exit_with_supervisor
from darts.reading import JsonObject, one_line
from darts.recipes.commands import resume_command, run_command
from darts.training.device import round_robin_gpu
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_lock import DirectoryInUse
from darts.training.steps import Diverged
from darts.writing import is_machine_failure

_POLL = 0.2  # seconds between two attempts to own a run directory


@dataclass(frozen=True)
class Job:
    """A run to execute.

    Attributes:
        name: Unique name, for the console.
        command: ``retrain`` or ``search``.
        directory: Run directory; the output of the run goes to a log file next to it.
        overrides: Overrides of a run that has not started yet; a resumed run keeps its own.
    """

    name: str
    command: str
    directory: Path
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        summary: Content of its ``summary.json``; None if it failed.
        problem: Why it failed, in one line.
    """

    summary: JsonObject | None
    problem: str = ""


@dataclass(frozen=True)
class Ready:
    """Message of a worker that can execute runs."""


@dataclass(frozen=True)
class Ended:
    """Message of a worker whose run has ended; without an outcome, a signal has stopped it."""

    outcome: Outcome | None


@dataclass(frozen=True)
class MachineFailed:
    """Message of a worker that could not write, for example because the disk is full."""

    number: int  # error number of the operating system
    text: str


Message = Ready | Ended | MachineFailed


def earlier_outcome(job: Job) -> Outcome | None:
    """Return the outcome of a run that is complete or has diverged, or None for other runs."""
    if is_complete(job.directory):
        return Outcome(read_summary(job.directory))
    divergence = read_divergence(job.directory)
    return None if divergence is None else Outcome(None, str(divergence["reason"]))


def execute(job: Job) -> Outcome:
    """Start or resume a run in this process, and wait for its end.

    If another process owns the run directory, wait until it has ended.

    Raises:
        Interrupted: After a signal. A run that had started has saved a checkpoint.
        OSError: If the machine failed, for example if the disk is full.
    """
    job.directory.parent.mkdir(parents=True, exist_ok=True)
    with redirect_output(log_file(job.directory)), _unchanged_process():
        try:
            with Interrupt() as interrupt:
                while (outcome := earlier_outcome(job)) is None:
                    if interrupt.received:
                        raise Interrupted(128 + interrupt.received)
                    if not _try(job):
                        time.sleep(_POLL)
            return outcome
        except (ConfigError, Diverged) as error:
            print(one_line(error), file=sys.stderr, flush=True)
            return Outcome(None, one_line(error))
        except Exception as error:
            if isinstance(error, OSError) and is_machine_failure(error):
                raise
            return Outcome(None, error_summary(error))


def _try(job: Job) -> bool:
    """Execute a run; return False if another process owns its directory or has just changed it."""
    begun = _has_begun(job)
    try:
        if begun:
            resume_command(job.command, job.directory)
        else:
            run_command(job.command, job.overrides, job.directory)
    except DirectoryInUse:
        return False
    except ConfigError:
        if begun == _has_begun(job) and earlier_outcome(job) is None:
            raise
        return False  # another process has begun or ended the run in the meantime
    return True


def _has_begun(job: Job) -> bool:
    return (job.directory / "config.yaml").exists()


@contextmanager
def _unchanged_process() -> Iterator[None]:
    """Release the memory of a run, and restore state that would affect the next run."""
    # The context also makes Python forget which warnings it has shown.
    with warnings.catch_warnings():
        _reset_peak_memory()
        try:
            yield
        finally:
            gc.collect()  # networks in reference cycles would occupy memory in the next run
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _reset_peak_memory() -> None:
    """Reset what ``darts.training.device.peak_memory`` reports."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux only
        Path("/proc/self/clear_refs").write_text("5")


def worker_main(number: int, threads: int | None, log: Path, connection: Connection) -> None:
    """Execute the jobs that arrive on a connection: the main function of a worker's process.

    SIGTERM stops the current run, which saves a checkpoint; the worker then waits for the next job.
    The worker exits when the other end of the connection closes, also if its process is killed.

    Args:
        number: Number of the worker on this machine, from 0.
        threads: Number of threads of PyTorch; None for PyTorch's default.
        log: File for output outside of runs.
        connection: Receives ``Job`` and sends ``Message``.
    """
    os.environ.update(round_robin_gpu(number))  # before CUDA is initialized in this process
    if threads is not None:
        torch.set_num_threads(threads)
    exit_with_supervisor()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            with redirect_output(log), Interrupt() as interrupt:
                gc.collect()
                gc.freeze()  # makes later collections fast
                _serve(connection, interrupt)
        except OSError as error:  # the log cannot be written
            connection.send(_machine_failure(error))


def _serve(connection: Connection, interrupt: Interrupt) -> None:
    """Execute jobs until the connection closes."""
    connection.send(Ready())
    while True:
        message = _reply(connection.recv())
        if message == Ended(None):
            interrupt.received = None  # the signal has stopped a run, and stops no other
        connection.send(message)


def _reply(job: Job) -> Message:
    """Execute a job and return the message for the pool."""
    try:
        return Ended(execute(job))
    except Interrupted:
        return Ended(None)
    except OSError as error:
        return _machine_failure(error)


def _machine_failure(error: OSError) -> MachineFailed:
    """Return the message about a failure of the machine; raise other errors again."""
    if not is_machine_failure(error):
        raise error
    assert error.errno is not None
    return MachineFailed(error.errno, one_line(error))
