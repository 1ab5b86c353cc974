"""The command ``darts``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from warm_python import WarmPython

import darts
from darts.__main__ import COMMANDS, main
from darts.config.groups import COMMANDS as CONFIGURED
from darts.config.hydra_adapter import known_keys
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
