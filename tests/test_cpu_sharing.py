"""Threads sleep while they wait if other programs need the processor."""

from __future__ import annotations

import subprocess
import sys

import pytest

from darts import cpu_sharing
from darts.cpu_sharing import choose_wait_policy


def unknown() -> int:
    raise OSError("no such file")


@pytest.mark.parametrize(
    ("counts", "cores", "given", "chosen"),
    [
        ([0, 1, 0, 2, 0], 2, {}, None),  # a free machine
        ([1, 2, 1, 0, 1], 2, {}, "PASSIVE"),
        ([3] * 5, 1, {}, None),
        ([3] * 5, 2, {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        ([3] * 5, 2, {"GOMP_SPINCOUNT": "1"}, None),
        (None, 2, {}, None),  # the system does not say what runs
    ],
)
def test_threads_sleep_if_other_programs_leave_too_few_cores(
    counts: list[int] | None,
    cores: int,
    given: dict[str, str],
    chosen: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(cpu_sharing.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(cpu_sharing.os, "environ", dict(given))
    monkeypatch.setattr(cpu_sharing.os, "sched_getaffinity", lambda pid: range(cores))
    running = unknown if counts is None else iter(counts).__next__
    monkeypatch.setattr(cpu_sharing, "running_tasks", running)
    choose_wait_policy()
    assert cpu_sharing.os.environ.get("OMP_WAIT_POLICY") == chosen


@pytest.mark.skipif(not cpu_sharing.LOAD.exists(), reason="needs /proc/loadavg")
def test_this_system_says_what_runs() -> None:
    assert 0 <= cpu_sharing.running_tasks() < 10_000


PROGRAM = """
import sys, types
fake = types.ModuleType("darts.cpu_sharing")
fake.choose_wait_policy = lambda: print("chosen")
sys.modules["darts.cpu_sharing"] = fake
sys.argv[0] = sys.argv[1]
import darts
"""


@pytest.mark.parametrize(
    ("script", "printed"), [("darts", "chosen"), ("darts-search", "chosen"), ("train.py", "")]
)
def test_only_commands_choose(script: str, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == printed
