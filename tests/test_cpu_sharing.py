"""Threads sleep while they wait if other programs need the processor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from darts import cpu_sharing
from darts.cpu_sharing import choose_wait_policy


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(cpu_sharing.time, "sleep", lambda seconds: None)


def chosen(counts: list[int], cores: int = 2, **given: str) -> dict[str, str]:
    readings: Iterator[int] = iter(counts)
    choose_wait_policy(given, lambda: next(readings), cores)
    return given


def test_a_free_machine_keeps_the_default() -> None:
    assert chosen([0, 1, 0, 2, 0]) == {}


def test_a_shared_machine_lets_threads_sleep() -> None:
    assert chosen([1, 2, 1, 0, 1]) == {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize("name", cpu_sharing.SETTINGS)
def test_settings_of_the_user_win(name: str) -> None:
    assert chosen([3] * 5, **{name: "1"}) == {name: "1"}


def test_one_core_needs_no_choice() -> None:
    assert chosen([3] * 5, cores=1) == {}


def test_a_system_that_does_not_say_what_runs_keeps_the_default() -> None:
    def unknown() -> int:
        raise OSError("no such file")

    environment: dict[str, str] = {}
    choose_wait_policy(environment, unknown, 2)
    assert environment == {}


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
