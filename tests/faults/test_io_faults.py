"""If a file-system call fails, a run ends in one line and can be resumed, or it warns.

A call fails with EIO once, or with ENOSPC, after which all later writes fail, too.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from file_calls import READS, WRITES, Call, Fail
from fork_server import Ended, one_line_problems

SAMPLE = {"search": 2, "retrain": 1}  # faults of the everyday tests
# The slow tests try every n-th fault; with DARTS_FAULTS=full, all.
STRIDE = {"search": 5, "retrain": 5, "tune": 12, "compare": 4, "find": 1500}
CODES = {4}  # exit code for failures of the machine


def end_problems(ended: Ended, expected: str) -> list[str]:
    """Return what is wrong with the end of a command that met a fault.

    It may continue without decorations (TensorBoard, the model card), with one warning for each.
    If it ends early, one line says why. ``expected`` is its standard error without a fault.
    """
    lines = ended.err.splitlines()
    warnings = [line for line in lines if ": warning: " in line]
    rest = "".join(f"{line}\n" for line in lines if line not in warnings)
    if len(warnings) > (1 if ended.code else 2):
        return [f"too many warnings: {warnings}"]
    if ended.code == 0 and not ended.timed_out:
        return [] if rest == expected else [f"it continues with {lines}"]
    return one_line_problems(dataclasses.replace(ended, err=rest), CODES)


def check_faults(
    forks: Any, continuation: Any, command: str, root: Path, faults: list[tuple[Call, int]]
) -> None:
    """Run a command with each fault, check its end, resume it and require the usual result."""
    failed = {}
    for call, code in faults:
        shutil.rmtree(root, ignore_errors=True)
        watched = (root, Fail(call.number, code))
        ended = forks.call(tiny_runs.start, command, root, watched=watched)
        problems = end_problems(ended, continuation.uninterrupted(command).err)
        problems += continuation.problems(command, root, decorations=ended.code != 0)
        if problems:
            failed[f"{errno.errorcode[code]} in {call}"] = problems
    print(f"{command}: {len(faults)} faults")
    assert not failed, "\n".join(f"{call}: {problems[:3]}" for call, problems in failed.items())


def every_fault(calls: list[Call], stride: int) -> list[tuple[Call, int]]:
    """Return every ``stride``-th of all pairs of a call and an error that it can have."""
    kinds = {errno.ENOSPC: WRITES, errno.EIO: WRITES | READS | {"unlink", "rmdir"}}
    faults = [(call, code) for call in calls for code in kinds if call.kind in kinds[code]]
    return faults[stride // 2 :: stride]


@pytest.mark.parametrize("command", SAMPLE)
def test_some_faults(forks: Any, continuation: Any, tmp_path: Path, command: str) -> None:
    root = tmp_path / "run"
    faults = every_fault(continuation.uninterrupted(command).calls, 1)
    some = faults[len(faults) // 5 :: len(faults) // SAMPLE[command]]
    check_faults(forks, continuation, command, root, some)


@pytest.mark.slow
@pytest.mark.parametrize("command", STRIDE)
def test_many_faults(forks: Any, continuation: Any, tmp_path: Path, command: str) -> None:
    root = tmp_path / "run"
    stride = 1 if tiny_runs.faults_mode() == "full" else STRIDE[command]
    faults = every_fault(continuation.uninterrupted(command).calls, stride)
    check_faults(forks, continuation, command, root, faults)


@pytest.mark.parametrize("limit", [pytest.param(300, marks=pytest.mark.slow), 30_000])
def test_a_limit_of_file_sizes(forks: Any, continuation: Any, tmp_path: Path, limit: int) -> None:
    root = tmp_path / "run"
    ended = forks.call(tiny_runs.start_limited, "search", root, limit)
    assert one_line_problems(ended, CODES, "File too large") == []
    assert continuation.problems("search", root) == []


def start_without_output(command: str, directory: Path) -> None:
    """Start a run whose standard output and error are on a full disk."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    os.dup2(full, 2)
    tiny_runs.start(command, directory)


def test_full_disk_of_the_output(forks: Any, continuation: Any, tmp_path: Path) -> None:
    root = tmp_path / "run"
    ended = forks.call(start_without_output, "search", root)
    assert ended.code == 4
    assert continuation.problems("search", root) == []
