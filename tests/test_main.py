"""The command ``darts``, and how it shares the processor with other programs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from warm_python import WarmPython

import darts
from darts import cpu_sharing
from darts.__main__ import COMMANDS, main
from darts.config.groups import COMMANDS as CONFIGURED
from darts.config.hydra_adapter import known_keys
from darts.cpu_sharing import choose_wait_policy
from darts.key_help import describe, purpose, sections
from darts.plugins import group_options


def call(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["darts", *arguments])
    main()


def test_every_command_is_listed_with_its_purpose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(COMMANDS) == set(CONFIGURED)
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        call(monkeypatch, arguments)
        out = capsys.readouterr().out
        assert all(f"  {name} " in out and purpose(name) in out for name in COMMANDS)


def test_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    call(monkeypatch, ["--version"])
    assert capsys.readouterr().out == f"darts-nas {darts.__version__}\n"


def test_an_unknown_command_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        call(monkeypatch, ["serch", "epochs=1"])
    error = capsys.readouterr().err
    assert error.startswith("darts: unknown command 'serch'; choose from find, search")
    assert len(error.splitlines()) == 1


def test_a_command_gets_the_other_arguments(tmp_path: Path, warm_python: WarmPython) -> None:
    words = ["genotypes", "validate=DARTS_V2"]
    ours, module = (
        warm_python.run("-m", *start, *words[1:], folder=tmp_path).stdout
        for start in (["darts", words[0]], [f"darts.{words[0]}"])
    )
    assert ours == module
    assert "DARTS_V2" in ours


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_keys_that_exist(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = set(known_keys(command)) | set(known_keys("search")) | {"hydra.run.dir"}
    for name, equals, _ in (key.partition("=") for _, keys in sections(command) for key in keys):
        assert describe(command, name), name
        if equals and not name.startswith("parameters."):
            assert name in known or name in ("dataset.root", "log"), name
    call(monkeypatch, [command, "--help"])
    out = capsys.readouterr().out
    assert "{" not in re.sub(r"\{(low|space):.*?\}", "", out)
    assert all(len(line) <= 80 for line in out.splitlines())
    assert f"darts {command} --help-all" in out


def test_the_help_lists_all_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, ["search", "--help"])
    words = set(re.split(r"[\s,]+", capsys.readouterr().out))
    for group in ("method", "space", "dataset", "experiment/search"):
        assert set(group_options(group)) <= words


def test_the_help_imports_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['darts', 'search', '--help']\n"
        "from darts.__main__ import main; main()\n"
        "assert not {'torch', 'hydra', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


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
    program = [sys.executable, "-c", PROGRAM, script]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed
