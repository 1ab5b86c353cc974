"""Execution of jobs in this process.

After each run, the state of the process is restored, so the next run computes the same as in a new
process.
"""

from __future__ import annotations

import gc
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import torch

from darts.config import ConfigError
from darts.log_mode import redirected
from darts.reading import FileError, one_line
from darts.recipes.commands import resume_command, run_command, would_continue
from darts.running.jobs import (
    Executor,
    Future,
    Job,
    JobLog,
    Outcome,
    Reply,
    is_complete,
    log_file,
    read_divergence,
    read_summary,
)
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_lock import DirectoryInUse
from darts.training.steps import Diverged
from darts.writing import WriteError, is_machine_failure

_POLL = 0.2  # seconds between two attempts to own a run directory


class InlineExecutor(Executor):
    """Executes each job in ``submit``, before it returns; for debugging."""

    workers = 1

    def __init__(self) -> None:
        self.threads = torch.get_num_threads()

    def submit(self, job: Job) -> Future:
        """Execute a job; raise Interrupted after a signal, see ``execute``."""
        future = new_future(job, self.log)
        if not future.done():
            future.start("this process")
            try:
                future.set_result(execute(job))
            except WriteError as error:
                future.set_exception(error)
        return future


def new_future(job: Job, log: JobLog | None) -> Future:
    """Return the future of a job, which is logged. It is done if the run has ended before."""
    future = Future(job)
    outcome = earlier_outcome(job)
    if outcome is not None:
        future.set_result(outcome)
    elif log is not None:
        log.watch(future)
    return future


def earlier_outcome(job: Job) -> Outcome | None:
    """Return the outcome of a run that has ended, or None for a run to start or to resume.

    A diverged run has ended. A complete run has ended unless it trains longer with ``changes``. A
    run has failed if a file about its end is damaged.
    """
    try:
        if is_complete(job.directory):
            return None if _is_to_continue(job) else Outcome(read_summary(job.directory))
        divergence = read_divergence(job.directory)
    except FileError as error:
        return Outcome(None, one_line(error))
    return None if divergence is None else Outcome(None, str(divergence["reason"]))


def _is_to_continue(job: Job) -> bool:
    try:
        return bool(job.changes) and would_continue(job.command, job.directory, job.changes)
    except (ValueError, OSError):  # damaged files or invalid changes: resuming says which
        return True


def execute(job: Job) -> Outcome:
    """Start or resume a run in this process, and wait for its end.

    If another process owns the run directory, wait until it has ended. Raise Interrupted after a
    signal, when a run that had started has saved a checkpoint, and WriteError if the machine
    failed, for example because the disk is full.
    """
    with redirect_output(log_file(job.directory)), _unchanged_process(job.threads):
        try:
            with Interrupt() as interrupt:
                while (outcome := earlier_outcome(job) or _try(job, interrupt)) is None:
                    time.sleep(_POLL)
            return outcome
        except (ConfigError, Diverged) as error:
            print(one_line(error), file=sys.stderr, flush=True)
            return Outcome(None, one_line(error))
        except Exception as error:
            if isinstance(error, OSError) and is_machine_failure(error):
                raise WriteError(error.errno, one_line(error)) from error
            return Outcome(None, error_summary(error))


def attempt(job: Job) -> Reply:
    """Execute a job; return None after a signal, and an error if the machine failed."""
    try:
        return execute(job)
    except Interrupted:
        return None
    except OSError as error:
        return error


def _try(job: Job, interrupt: Interrupt) -> Outcome | None:
    """Execute a run; return None if another process owns its directory or has just changed it."""
    if interrupt.received:
        raise Interrupted(128 + interrupt.received)
    begun = _has_begun(job)
    try:
        if begun:
            resume_command(job.command, job.directory, job.changes)
        else:
            run_command(job.command, job.overrides, job.directory)
        return Outcome(read_summary(job.directory))  # as other processes read it: null for nan
    except DirectoryInUse:
        return None
    except ConfigError:
        if begun == _has_begun(job) and earlier_outcome(job) is None:
            raise
        return None  # another process has begun or ended the run in the meantime


def _has_begun(job: Job) -> bool:
    return (job.directory / "config.yaml").exists()


@contextmanager
def _unchanged_process(threads: int | None) -> Iterator[None]:
    """Set the number of threads; at the end, release memory and restore what runs change."""
    threads_before = torch.get_num_threads()
    # The context also makes Python forget which warnings it has shown.
    with warnings.catch_warnings():
        _reset_peak_memory()
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)
            gc.collect()  # networks in reference cycles would occupy memory in the next run
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _reset_peak_memory() -> None:
    """Reset what ``darts.training.device.peak_memory`` reports."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux only
        Path("/proc/self/clear_refs").write_text("5")


def error_summary(error: BaseException, log: TextIO | None = None) -> str:
    """Return an error in one line; print its traceback to a log, by default standard error."""
    traceback.print_exception(error, file=log)
    text = " ".join(str(error).split())
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text.lower():
        return f"out of memory: {text[:200]}"
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


@contextmanager
def redirect_output(file: Path) -> Iterator[None]:
    """Append stdout and stderr to a file, also from libraries and child processes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # With line buffering, the file contains the last lines of a killed worker.
    with file.open("a", encoding="utf-8", buffering=1) as log, redirected(log):
        yield
