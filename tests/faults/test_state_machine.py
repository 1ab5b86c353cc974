"""After any sequence of kills, resumes, damage and repairs, a run is sound."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from damage import mutate
from file_calls import Kill
from fork_server import Ended, one_line_problems
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

FILES = ("config.yaml", "overrides.json", "env.json", "split.npz", "metrics.jsonl")
FILES += ("checkpoint.safetensors", "genotype.json", "alphas.json", "summary.json")
CALLS = 260  # about the number of file-system calls of an uninterrupted search


def make_machine(forks: Any, uninterrupted: Any) -> Callable[[], RuleBasedStateMachine]:
    """Return a state machine of one search."""
    expected = uninterrupted("search")

    class SearchMachine(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.folder = Path(tempfile.mkdtemp())
            self.directory = self.folder / "run"
            self.damaged: tuple[str, bytes] | None = None  # name and original content

        def teardown(self) -> None:
            if not hasattr(self, "folder"):
                return
            if self.damaged is not None:
                self.repair()
            if self.complete:
                # The run may have been killed before it removed its lock file.
                self.resume_complete()
            else:
                self.proceed(kill=None)
            end = tiny_runs.end_state("search", self.directory)
            assert tiny_runs.differences(end, expected.end) == []
            shutil.rmtree(self.folder)

        @property
        def begun(self) -> bool:
            return (self.directory / "config.yaml").exists()

        @property
        def complete(self) -> bool:
            return (self.directory / "summary.json").exists()

        def call(self, kill: int | None) -> Ended:
            function = tiny_runs.resume if self.begun else tiny_runs.start
            watched = None if kill is None else (self.directory, Kill(kill, torn=kill % 2 == 1))
            ended: Ended = forks.call(function, "search", self.directory, watched=watched)
            assert not ended.timed_out
            assert "Traceback" not in ended.err, ended.err
            return ended

        @precondition(lambda self: self.damaged is None and not self.complete)
        @rule(kill=st.one_of(st.none(), st.integers(0, CALLS)))
        def proceed(self, kill: int | None) -> None:
            """Start or resume the run; kill it at call ``kill``, if it makes that many calls."""
            ended = self.call(kill)
            if ended.code != -9:
                assert (ended.code, ended.err) == (0, expected.err)
                assert self.complete

        @precondition(lambda self: self.damaged is None and self.complete)
        @rule()
        def resume_complete(self) -> None:
            refused = forks.call(tiny_runs.resume, "search", self.directory)
            assert one_line_problems(refused, {2}, "complete") == []

        @precondition(lambda self: self.damaged is None and self.begun)
        @rule(name=st.sampled_from(FILES), seed=st.integers(0, 2**32 - 1))
        def damage(self, name: str, seed: int) -> None:
            path = self.directory / name
            if path.exists() and (content := path.read_bytes()):
                self.damaged = (name, content)
                path.write_bytes(mutate(content, seed))

        @precondition(lambda self: self.damaged is not None)
        @rule()
        def resume_damaged(self) -> None:
            """The run is refused, or ends like an uninterrupted one."""
            assert self.damaged is not None
            was_complete = self.complete
            ended = self.call(None)
            if ended.code == 0:
                assert not was_complete
                self.damaged = None
                end = tiny_runs.end_state("search", self.directory)
                assert tiny_runs.differences(end, expected.end) == []
            else:
                assert one_line_problems(ended, {2}) == []

        @precondition(lambda self: self.damaged is not None)
        @rule()
        def repair(self) -> None:
            assert self.damaged is not None
            name, content = self.damaged
            (self.directory / name).write_bytes(content)
            self.damaged = None

        @precondition(lambda self: self.begun)
        @rule()
        def report(self) -> None:
            out = f"out={self.folder / 'page.html'}"
            ended = forks.call(tiny_runs.run, "report", str(self.directory), out)
            assert ended.code in (0, 2), ended.err
            assert "Traceback" not in ended.err, ended.err

    return SearchMachine


def run_machine(forks: Any, uninterrupted: Any, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        make_machine(forks, uninterrupted),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=examples < 5,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_few_steps(forks: Any, uninterrupted: Any) -> None:
    run_machine(forks, uninterrupted, examples=1, steps=4)


@pytest.mark.slow
def test_many_steps(forks: Any, uninterrupted: Any) -> None:
    full = tiny_runs.faults_mode() == "full"
    run_machine(forks, uninterrupted, examples=150 if full else 15, steps=12)
