"""Signals: at any moment they make a run save and exit, and it can be resumed."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from file_calls import Send
from waiting import wait_for

from darts.training.checkpoint import load_checkpoint

NOTICE = "stopping after this step; Ctrl-C again to abort"
ENDLESS = ("search", *tiny_runs.RUNS["search"], "epochs=100000")


def interrupt_at(forks: Any, continuation: Any, folder: Path, start: int, stride: int) -> None:
    """Send SIGINT to a search before some file-system calls; each time, it must end and resume."""
    failed = {}
    calls = continuation.uninterrupted("search").calls[start::stride]
    for call in calls:
        root = folder / f"{call.number}"
        watched = (root, Send(call.number, signal.SIGINT))
        ended = forks.call(tiny_runs.start, "search", root, watched=watched)
        lines = [line for line in ended.err.splitlines() if line]
        if ended.code == 0:  # the signal came too late: the run was about to end
            problems = [] if call.path == "summary.json" or NOTICE in lines else [ended.err]
        else:
            allowed = ([NOTICE], [line for line in lines if "aborted by Ctrl-C" in line])
            problems = [] if ended.code == 130 and len(lines) == 1 and lines in allowed else lines
        problems += continuation.problems("search", root)
        if problems:
            failed[str(call)] = problems
    print(f"{len(calls)} interrupts")
    assert not failed, "\n".join(f"{call}: {problems[:3]}" for call, problems in failed.items())


def test_ctrl_c_at_a_call(forks: Any, continuation: Any, tmp_path: Path) -> None:
    interrupt_at(forks, continuation, tmp_path, 120, 1000)


@pytest.mark.slow
def test_ctrl_c_at_many_calls(forks: Any, continuation: Any, tmp_path: Path) -> None:
    full = tiny_runs.faults_mode() == "full"
    interrupt_at(forks, continuation, tmp_path, 0, 1 if full else 6)


def stderr_line(process: Any) -> str:
    """Return the next line on standard error that is not empty."""
    while not (line := process.stderr.readline()).strip():
        assert process.poll() is None
    return str(line).strip()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_a_real_process(number: int, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with tiny_runs.launched(*ENDLESS, f"hydra.run.dir={directory}") as process:
        wait_for(directory / "checkpoint.safetensors", process)
        sent = time.monotonic()
        process.send_signal(number)
        assert stderr_line(process) == NOTICE
        assert time.monotonic() - sent < 3
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (128 + number, "")
        assert f"darts search resume={directory}" in out
        load_checkpoint(directory / "checkpoint.safetensors", "search")
        assert not (directory / "run.lock").exists()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_long_step(tmp_path: Path) -> None:
    """A step of this search takes seconds; the second Ctrl-C does not wait for it."""
    directory = tmp_path / "run"
    slow = ("dataset=synthetic", "dataset.samples=512", "dataset.size=32", "loader.batch_size=128")
    arguments = (*slow, "space.channels=16", "space.cells=8", "tracking.figures=false")
    with tiny_runs.launched("search", *arguments, f"hydra.run.dir={directory}") as process:
        wait_for(directory / "config.yaml", process)
        time.sleep(5)
        process.send_signal(signal.SIGINT)
        assert stderr_line(process) == NOTICE
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert [line for line in err.splitlines() if line] == ["darts search: aborted by Ctrl-C"]
        assert "checkpoint saved" not in out


@pytest.mark.slow
@pytest.mark.parametrize(("number", "before"), [(signal.SIGUSR1, ()), (signal.SIGHUP, ("nohup",))])
def test_a_run_continues_after_sigusr1_and_under_nohup_after_the_end_of_its_terminal(
    number: int, before: tuple[str, ...], tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    words = (*ENDLESS, "save_minutes=600", f"hydra.run.dir={directory}")
    with tiny_runs.launched(*words, before=before) as process:
        wait_for(directory / "checkpoint.safetensors", process)
        process.send_signal(number)
        time.sleep(2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 143
        assert before or err.split("\n") == ["", NOTICE, ""]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.4, 1.0, 1.5])
def test_ctrl_c_before_the_run_begins_prints_no_traceback(tmp_path: Path, seconds: float) -> None:
    """Nothing is printed during imports, and one line while the configuration is composed."""
    directory = tmp_path / "run"
    with tiny_runs.launched(*ENDLESS, f"hydra.run.dir={directory}") as process:
        time.sleep(seconds)
        begun = directory.exists()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        if not begun:
            ends = [(-signal.SIGINT, "", ""), (130, "", "darts search: aborted by Ctrl-C\n")]
            assert (process.returncode, out, err) in ends
