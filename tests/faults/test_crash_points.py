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


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_all_crash_points(forks: Any, continuation: Any, tmp_path: Path, command: str) -> None:
    """Each copy of the directory before a file-system call is that of a run that was killed."""
    root, store = tmp_path / "run", tmp_path / "copies"
    store.mkdir()
    watched = (root, Snapshots(root, store, skipped=SKIPPED.get(command, "")))
    ended = forks.call(tiny_runs.start, command, root, watched=watched, timeout=300)
    assert ended.code in (0, 3), ended.err
    states: Snapshots = ended.value
    names, failed = list(states.calls)[:: STEP.get(command, 1)], {}
    for name in names:
        directory = states.store / name
        problems = continuation.problems(command, directory)
        if problems:
            failed[states.calls[name]] = problems
        shutil.rmtree(directory)
    print(f"{command}: {states.count} crash points, {len(names)} different states checked")
    assert not failed, "\n".join(f"{call}: {problems[:3]}" for call, problems in failed.items())
