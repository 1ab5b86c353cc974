"""Commands without arguments say what they would do, and ask."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from darts.compare import main as compare
from darts.confirm import confirm
from darts.find import with_data


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "begins"), [("y\n", True), ("\n", False), ("no\n", False)])
def test_a_terminal_is_asked(
    answer: str, begins: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    if begins:
        assert confirm("takes hours", []) == []
    else:
        with pytest.raises(SystemExit) as end:
            confirm("takes hours", [])
        assert end.value.code == 0
    assert "this takes hours" in capsys.readouterr().out


def test_without_a_terminal_a_bare_command_is_rejected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["darts.compare"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(SystemExit) as end:
        compare()
    assert end.value.code == 2
    assert "14 searches" in (line := capsys.readouterr().err)
    assert "yes=true" in line
    assert not list(tmp_path.iterdir())


def test_arguments_are_passed_on() -> None:
    assert confirm("takes hours", ["seed=1"]) == ["seed=1"]
    assert confirm("takes hours", ["yes=true"]) == []


def test_find_without_arguments_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        with_data([])
    assert end.value.code == 0
    assert "budget.minutes" in capsys.readouterr().out
