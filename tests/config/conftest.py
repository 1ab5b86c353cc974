"""Commands called in this process, and the line that they print when they refuse."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from darts.config import launch


@pytest.fixture
def refused(cwd: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call a command in an empty folder, require exit code 2, and return the line it prints."""

    def call(command: str, *arguments: str) -> str:
        before = sorted(cwd.rglob("*"))
        module = importlib.import_module(f"darts.{command}")
        with pytest.raises(SystemExit, match=r"^2$"):
            launch(command, module.check, getattr(module, command), arguments)
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.endswith("\n")
        assert len(printed.err.splitlines()) == 1, printed.err
        assert "Traceback" not in printed.err
        assert printed.err.startswith(f"darts {command}: ")
        assert sorted(cwd.rglob("*")) == before, "the command left files"
        return printed.err

    return call
