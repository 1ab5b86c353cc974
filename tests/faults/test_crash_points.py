"""A run that is killed before or during any file-system call ends like an uninterrupted run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from file_calls import Snapshots

COMMANDS = ("search", "retrain", "tune", "find", "compare")
# The trainings of darts.find are those of darts.retrain, whose crash points are tested, too.
SKIPPED = {"find": "runs/"}
STEP = {"find": 9}  # every ninth state, because each continuation runs several trainings


def crash_states(forks: Any, command: str, folder: Path) -> Snapshots:
    """Run a command and return copies of its directory before each file-system call."""
    store = folder / "copies"
    store.mkdir()
    root = folder / "run"
    watched = (root, Snapshots(root, store, skipped=SKIPPED.get(command, "")))
    ended = forks.call(tiny_runs.start, command, root, watched=watched, timeout=300)
    assert ended.code in (0, 3), ended.err
    assert isinstance(ended.value, Snapshots)
    return ended.value


def check_states(continuation: Any, command: str, states: Snapshots, names: list[str]) -> None:
    failed = {}
    for name in names:
        directory = states.store / name
        problems = continuation.problems(command, directory)
        if problems:
            failed[states.calls[name]] = problems
        shutil.rmtree(directory)
    print(f"{command}: {states.count} crash points, {len(names)} different states checked")
    assert not failed, "\n".join(f"{call}: {problems[:3]}" for call, problems in failed.items())


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_all_crash_points(forks: Any, continuation: Any, tmp_path: Path, command: str) -> None:
    states = crash_states(forks, command, tmp_path)
    check_states(continuation, command, states, list(states.calls)[:: STEP.get(command, 1)])
