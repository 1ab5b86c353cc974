"""Forks of a warm process, and uninterrupted runs to compare with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import tiny_runs
from file_calls import Call, Kill, Recorder
from fork_server import ForkServer, one_line_problems


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not sys.platform.startswith("linux"):
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs Linux: fork, pidfd and signals"))


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    server = ForkServer(("tiny_runs", "warm_up"))
    yield server
    server.close()


@dataclass(frozen=True)
class Uninterrupted:
    """A run without faults."""

    directory: Path
    end: dict[str, object]  # what a run that is resumed after a fault must also end with
    err: str  # a line that says why the result of so small a run is worthless
    calls: list[Call]


@pytest.fixture(scope="session")
def uninterrupted(
    forks: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Uninterrupted]:
    """Return a function that returns the uninterrupted run of a command."""

    @cache
    def get(command: str) -> Uninterrupted:
        directory = tmp_path_factory.mktemp(command) / "run"
        watched = (directory, Recorder())
        ended = forks.call(tiny_runs.start, command, directory, watched=watched)
        assert ended.code == 0, ended.err
        end, calls = tiny_runs.end_state(command, directory), ended.value.calls
        return Uninterrupted(directory, end, ended.err, calls)

    return get


@dataclass(frozen=True)
class Continuation:
    """Continues runs after faults and compares their ends with uninterrupted runs."""

    forks: ForkServer
    uninterrupted: Callable[[str], Uninterrupted]

    def problems(self, command: str, directory: Path, *, decorations: bool = True) -> list[str]:
        """Resume a run and return how its end differs from that of an uninterrupted run.

        A run that is complete or has not begun cannot be resumed, and the command must say so in
        one line. A run that has not begun is then started in the same directory. Unless
        ``decorations``, TensorBoard records and files that no command reads may be missing.
        """
        uninterrupted = self.uninterrupted(command)
        complete = (directory / "summary.json").exists()
        begun = (directory / "config.yaml").exists()
        problems: list[str] = []
        if complete or not begun:
            refused = self.forks.call(tiny_runs.resume, command, directory)
            expected = "complete" if complete else "is not a run directory"
            problems += one_line_problems(refused, {2}, expected)
        if not complete:
            function = tiny_runs.resume if begun else tiny_runs.start
            ended = self.forks.call(function, command, directory)
            if (ended.code, ended.err) != (0, uninterrupted.err):
                return [*problems, f"exit code {ended.code}: {ended.err[-1000:]}"]
        end, expected = tiny_runs.end_state(command, directory), dict(uninterrupted.end)
        if not decorations:
            for part in ("TensorBoard", "files"):
                end.pop(part, None)
                expected.pop(part, None)
        return problems + tiny_runs.differences(end, expected)


@pytest.fixture(scope="session")
def continuation(forks: ForkServer, uninterrupted: Callable[[str], Uninterrupted]) -> Continuation:
    return Continuation(forks, uninterrupted)


@pytest.fixture(scope="session")
def bases(
    forks: ForkServer,
    uninterrupted: Callable[[str], Uninterrupted],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, bool], Path]:
    """Return a function that returns the directory of a complete run or of a killed one.

    The killed run ended before its last checkpoint.
    """

    @cache
    def get(command: str, complete: bool) -> Path:
        if complete:
            return uninterrupted(command).directory
        last = ("trials/0001/" if command == "tune" else "") + ".checkpoint.safetensors"
        calls = uninterrupted(command).calls
        saves = [call.number for call in calls if call.kind == "replace" and last in call.path]
        directory = tmp_path_factory.mktemp(f"killed-{command}") / "run"
        watched = (directory, Kill(saves[0 if command == "tune" else -2]))
        ended = forks.call(tiny_runs.start, command, directory, watched=watched)
        assert ended.code == -9, ended.err
        return directory

    return get
