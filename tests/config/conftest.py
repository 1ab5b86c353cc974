"""Commands called in this process, with what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darts import compare, evaluate, export, genotypes, report, retrain, search
from darts.config import launch

PARTS: dict[str, tuple[Callable[..., None], Callable[..., Any]]] = {
    "search": (search.check, search.search),
    "retrain": (retrain.check, retrain.retrain),
    "export": (export.check, export.export),
    "evaluate": (evaluate.check, evaluate.evaluate),
    "compare": (compare.check, compare.compare),
    "genotypes": (genotypes.check, genotypes.genotypes),
    "report": (report.check, report.report),
}

Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Call a command that must end with code 2 and one line, in an empty folder; the line."""
    monkeypatch.chdir(tmp_path)

    def call(command: str, *arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        check, task = PARTS[command]
        with pytest.raises(SystemExit) as left:
            launch(command, check, task, arguments)
        said = capsys.readouterr()
        assert left.value.code == 2
        assert said.out == ""
        assert said.err.endswith("\n")
        assert len(said.err.splitlines()) == 1, said.err
        assert "Traceback" not in said.err
        assert said.err.startswith(f"darts.{command}: ")
        assert sorted(tmp_path.rglob("*")) == before, "something was left behind"
        return said.err

    return call
