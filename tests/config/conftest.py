"""Commands called in this process, and the line that they print when they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darts import compare, device, evaluate, genotypes, report
from darts.config import launch
from darts.recipes import prediction, retrain, search
from darts.recipes.exporting import export

COMMANDS: dict[str, tuple[Callable[..., None], Callable[..., Any]]] = {
    "search": (search.check, search.search),
    "retrain": (retrain.check, retrain.retrain),
    "export": (export.check, export.export),
    "predict": (prediction.check, prediction.predict),
    "evaluate": (evaluate.check, evaluate.evaluate),
    "compare": (compare.check, compare.compare),
    "genotypes": (genotypes.check, genotypes.genotypes),
    "report": (report.check, report.report),
    "device": (device.check, device.device),
}

Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Call a command in an empty folder, require exit code 2, and return the line it prints."""
    monkeypatch.chdir(tmp_path)

    def call(command: str, *arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        check, task = COMMANDS[command]
        with pytest.raises(SystemExit) as exit_info:
            launch(command, check, task, arguments)
        printed = capsys.readouterr()
        assert exit_info.value.code == 2
        assert printed.out == ""
        assert printed.err.endswith("\n")
        assert len(printed.err.splitlines()) == 1, printed.err
        assert "Traceback" not in printed.err
        assert printed.err.startswith(f"darts.{command}: ")
        assert sorted(tmp_path.rglob("*")) == before, "the command left files"
        return printed.err

    return call
