"""Forks of a warm process, and unbroken runs to compare with."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_runs
from effects import Kill, Recorder
from fork_server import ForkServer, one_line_problems


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not sys.platform.startswith("linux"):
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs forks, pidfd and Linux's signals"))


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    server = ForkServer(("tiny_runs", "warm_up"))
    yield server
    server.close()


@dataclass(frozen=True)
class Unbroken:
    """A run without faults.

    Attributes:
        directory: Its directory.
        end: What must be equal after a fault.
        code: Its exit code: 0, or 3 because so small a run finds nothing good.
        err: Its standard error.
    """

    directory: Path
    end: dict[str, object]
    code: int
    err: str


@pytest.fixture(scope="session")
def unbroken(
    forks: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Unbroken]:
    """Returns the unbroken run of a command."""
    runs: dict[str, Unbroken] = {}

    def get(command: str) -> Unbroken:
        if command not in runs:
            directory = tmp_path_factory.mktemp(command) / "run"
            ended = forks.call(tiny_runs.start, command, directory)
            assert ended.code in (0, 3), ended.err
            end = tiny_runs.end_state(command, directory)
            runs[command] = Unbroken(directory, end, ended.code, ended.err)
        return runs[command]

    return get


@dataclass(frozen=True)
class Continuation:
    """Continues runs after faults and compares their ends with unbroken runs."""

    forks: ForkServer
    unbroken: Callable[[str], Unbroken]

    def problems(self, command: str, directory: Path, *, decorations: bool = True) -> list[str]:
        """Resume a run and return how its end differs from that of an unbroken run.

        A run that was complete, or had not begun, must be refused in one line; the latter must be
        possible to start in the same directory. If ``decorations`` is False, TensorBoard records
        and files that nothing reads may be missing.
        """
        unbroken = self.unbroken(command)
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
            if (ended.code, ended.err) != (unbroken.code, unbroken.err):
                return [*problems, f"exit code {ended.code}: {ended.err[-1000:]}"]
        end, expected = tiny_runs.end_state(command, directory), dict(unbroken.end)
        if not decorations:
            for part in ("TensorBoard", "files"):
                end.pop(part, None)
                expected.pop(part, None)
        return problems + tiny_runs.differences(end, expected)


@pytest.fixture(scope="session")
def continuation(forks: ForkServer, unbroken: Callable[[str], Unbroken]) -> Continuation:
    return Continuation(forks, unbroken)


@pytest.fixture(scope="session")
def bases(
    forks: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, bool], Path]:
    """Returns the directory of a run that is complete, or was killed before its last checkpoint."""
    made: dict[tuple[str, bool], Path] = {}

    def get(command: str, complete: bool) -> Path:
        if (command, complete) not in made:
            directory = tmp_path_factory.mktemp(f"{command}-{complete}") / "run"
            watched = (directory, Recorder())
            ended = forks.call(tiny_runs.start, command, directory, watched=watched)
            assert ended.code == 0, ended.err
            if not complete:
                last = ".checkpoint.pt" if command != "tune" else "trials/0001/.checkpoint.pt"
                saves = [c for c in ended.value.calls if c.kind == "replace" and last in c.path]
                shutil.rmtree(directory)
                number = saves[-2 if command != "tune" else 0].number
                watched = (directory, Kill(number))
                ended = forks.call(tiny_runs.start, command, directory, watched=watched)
                assert ended.code == -9
            made[command, complete] = directory
        return made[command, complete]

    return get
