"""The command ``darts``, and how it shares the processor with other programs."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from warm_python import WarmPython

import darts
from darts import cpu_sharing
from darts.__main__ import COMMANDS, main
from darts.config.groups import COMMANDS as CONFIGURED
from darts.cpu_sharing import choose_wait_policy
from darts.key_help import describe, purpose, sections
from darts.keys import all_keys, known_keys
from darts.plugins import group_options

Printed = Callable[..., str]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Returns what a command that ends at once prints: its output, or its error for a code > 0."""

    def call(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["darts", *arguments])
        with pytest.raises(SystemExit) as done:
            main()
        assert done.value.code == code
        out, err = capsys.readouterr()
        return err if code else out

    return call


def test_every_command_is_listed_with_its_purpose(printed: Printed) -> None:
    assert set(COMMANDS) == set(CONFIGURED)
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        out = printed(*arguments)
        assert all(f"  {name} " in out and purpose(name) in out for name in COMMANDS)


def test_ctrl_c_during_the_imports_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_module(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", import_module)
    monkeypatch.setattr(sys, "argv", ["darts", "find", "dataset=digits"])
    with pytest.raises(SystemExit, match="130"):
        main()
    assert capsys.readouterr().err == "darts find: aborted by Ctrl-C\n"


def test_the_version(printed: Printed) -> None:
    for arguments in (["--version"], ["find", "--version"]):
        assert printed(*arguments) == f"darts-nas {darts.__version__}\n"


def test_an_unknown_command_ends_in_one_line(printed: Printed) -> None:
    for words, message in (
        (["serach"], "unknown command 'serach'; did you mean search? darts --help lists the"),
        (["xyz"], "unknown command 'xyz'; darts --help lists the commands"),
        (["--hepl"], "unknown command '--hepl'; did you mean --help? darts --help"),
        (["completion"], "completion: choose a shell: bash, zsh, fish"),
        (["search", "--hepl"], "search: unknown flag '--hepl'; did you mean --help? darts search"),
        (["find", "--epochs", "5"], "find: unknown flag '--epochs'; did you mean epochs=VALUE?"),
        (
            ["search", "epoch", "5"],
            "unknown word 'epoch'; did you mean epochs=VALUE? write key=value",
        ),
        (["evaluate", "latest", "test"], "unknown word 'test'; write key=value"),
        (["find", "seed=1", "x.csv"], "unknown word 'x.csv'; write one path, then key=value"),
        (["device", "measre"], "unknown word 'measre'; did you mean measure? write key=value"),
        (["find", "nosuch=1"], "find: no such key 'nosuch'; keys here: auxiliary"),
    ):
        (line,) = printed(*words, code=2).splitlines()
        assert message in line


def test_a_command_gets_the_other_arguments(tmp_path: Path, warm_python: WarmPython) -> None:
    words = ["genotypes", "validate=DARTS_V2"]
    ours, module = (
        warm_python.run("-m", *start, *words[1:], folder=tmp_path).stdout
        for start in (["darts", words[0]], [f"darts.{words[0]}"])
    )
    assert ours == module
    assert "DARTS_V2" in ours


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_keys_that_exist(command: str, printed: Printed) -> None:
    known = {*known_keys(command), *known_keys("search"), "hydra.run.dir"}
    known |= set(known_keys("search", ["dataset=csv"]))
    for name, equals, _ in (key.partition("=") for _, keys in sections(command) for key in keys):
        assert describe(all_keys(command), name), name
        if equals and not name.startswith("parameters."):
            assert name in known or name in ("dataset.root", "log"), name
    out = printed(command, "--help")
    assert "{" not in re.sub(r"\{(low|space):.*?\}", "", out)
    assert all(len(line) <= 80 for line in out.splitlines())
    assert f"darts {command} --help-all" in out


def test_the_help_lists_all_options(printed: Printed) -> None:
    words = set(re.split(r"[\s,]+", printed("search", "--help")))
    for group in ("method", "space", "dataset", "experiment/search"):
        assert set(group_options(group)) <= words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_is_listed_with_its_type(command: str, printed: Printed) -> None:
    out = printed(command, "dataset=nosuch", "--help-all")
    for key in all_keys(command):
        if not key.startswith("dataset.") and not key.endswith(".name"):
            assert re.search(rf"^  '?{key}=[^ ]*'?\s+\(\w", out, re.M), key
    assert all(len(line) <= 80 or " " not in line.strip() for line in out.splitlines())


def test_help_and_wrong_keys_import_no_heavy_library(tmp_path: Path) -> None:
    for name in ("torch", "hydra", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for word, code in ("--help", 0), ("--help-all", 0), ("nosuch=1", 2):
        runs = []
        for form in (["darts", "search"], ["darts.search"]):
            program = [sys.executable, "-m", *form, word]
            run = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True)
            runs.append((run.returncode, run.stdout, run.stderr))
        assert runs[0] == runs[1]
        assert runs[0][0] == code


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
del sys.argv[0]
import darts
"""


@pytest.mark.parametrize(
    ("script", "expected"), [("darts", "chosen"), ("darts-search", "chosen"), ("train.py", "")]
)
def test_only_commands_choose(script: str, expected: str) -> None:
    program = [sys.executable, "-c", PROGRAM, script]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
