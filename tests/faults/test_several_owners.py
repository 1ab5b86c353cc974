"""A run directory has at most one owner, however many processes try to write to it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from file_calls import Kill


def start_three(cwd: Path, command: str, *arguments: str) -> list[tuple[int, str]]:
    """Start a command three times at once; return exit code and standard error of each process.

    Call this in a fork of the server. Its own forks need no imports and wait for each other, so
    they start at the same time.
    """
    os.chdir(cwd)
    context = multiprocessing.get_context("fork")
    barrier, errors = context.Barrier(3), [cwd / f"{number}.err" for number in range(3)]

    def run_together(error: Path) -> None:
        os.dup2(os.open(error, os.O_CREAT | os.O_WRONLY), 2)
        barrier.wait()
        tiny_runs.run(command, *arguments)

    processes = [context.Process(target=run_together, args=(error,)) for error in errors]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [(p.exitcode, e.read_text()) for p, e in zip(processes, errors, strict=True)]


def test_searches_that_start_in_the_same_second_get_their_own_directories(
    forks: Any, uninterrupted: Any, tmp_path: Path
) -> None:
    ended = forks.call(start_three, tmp_path, "search", *tiny_runs.RUNS["search"])
    assert [code for code, _ in ended.value] == [0, 0, 0], ended.value
    folders = list(tmp_path.glob("runs/search/*/*"))
    assert len(folders) == 3
    for folder in folders:
        end_state = tiny_runs.end_state("search", folder)
        assert tiny_runs.differences(end_state, uninterrupted("search").end) == []


@pytest.mark.parametrize("kind", [pytest.param("started", marks=pytest.mark.slow), "resumed"])
def test_one_of_three_processes_gets_the_same_directory(
    forks: Any, uninterrupted: Any, tmp_path: Path, kind: str
) -> None:
    directory = tmp_path / "run"
    arguments = [*tiny_runs.RUNS["search"], f"hydra.run.dir={directory}"]
    if kind == "resumed":
        killed = forks.call(tiny_runs.start, "search", directory, watched=(directory, Kill(150)))
        assert killed.code == -9
        arguments = [f"resume={directory}"]
    ended = forks.call(start_three, tmp_path, "search", *arguments)
    codes = sorted(code for code, _ in ended.value)
    assert codes == [0, 2, 2], ended.value
    for code, err in ended.value:
        if code:
            assert len(err.splitlines()) == 1
            # The fastest process may have ended before another one tried to lock the directory.
            assert any(text in err for text in ("in use by process", "already holds", "complete"))
    end = tiny_runs.end_state("search", directory)
    assert tiny_runs.differences(end, uninterrupted("search").end) == []
