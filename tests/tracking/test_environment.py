"""Environment and revision of a run, and files that it can do without."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

import darts
import darts.plotting.run_figures as run_figures
import darts.plotting.study_figures as study_figures
from darts.tracking.environment import environment, git_state
from darts.tracking.optional import optional
from darts.writing import write_json

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that tracks the package ``mine`` and ignores the folder ``.venv``."""
    root = tmp_path / "checkout"
    for name in ("mine", ".venv/site-packages/theirs"):
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text("")
    (root / ".gitignore").write_text(".venv\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def test_environment_lists_software_and_hardware(tmp_path: Path) -> None:
    found: Any = environment()
    write_json(tmp_path / "env.json", found)
    assert json.loads((tmp_path / "env.json").read_text()) == found
    assert found["python"] == platform.python_version()
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["darts-nas"] == darts.__version__
    assert found["versions"]["torchvision"]
    assert found["versions"]["numpy"]
    assert found["cpu"]["threads"] == torch.get_num_threads()
    assert found["cpu"]["cores"] >= 1
    assert found["command"] == sys.argv
    assert datetime.fromisoformat(found["started"]).utcoffset() == timedelta(0)
    assert (found["cuda"] is None) == (not torch.cuda.is_available())


def test_environment_omits_the_host_name() -> None:
    def texts(value: object) -> list[str]:
        if isinstance(value, dict):
            return [t for key, item in value.items() for t in (key, *texts(item))]
        return [str(value)]

    assert socket.gethostname() not in texts({**environment(), "command": None})


@needs_git
@pytest.mark.usefixtures("cwd")
def test_revision_does_not_depend_on_the_working_directory(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout / "mine") == (head, False)
    (checkout / "note.txt").write_text("untracked")
    assert git_state(checkout / "mine") == (head, False)
    (checkout / ".gitignore").write_text("")
    assert git_state(checkout / "mine") == (head, True)


@needs_git
def test_untracked_package_has_no_revision(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lone = tmp_path / "lone"
    lone.mkdir()
    (lone / "__init__.py").write_text("")
    monkeypatch.chdir(checkout)
    assert git_state(checkout / ".venv/site-packages/theirs") is None
    assert git_state(lone) is None


@needs_git
def test_revision_ignores_the_variables_of_a_git_hook(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert git_state(checkout / "mine") == (head, False)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("two\nlines"), "two lines"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (RecursionError(), "RecursionError: RecursionError"),
    ],
)
def test_error_becomes_one_warning(error: Exception, reason: str) -> None:
    with pytest.warns(UserWarning, match="curves") as caught, optional("curves.png") as failures:
        raise error
    assert [str(warning.message) for warning in caught] == [f"curves.png was not made: {reason}"]
    assert failures == [reason]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_end_of_a_run_is_not_swallowed(error: type[BaseException]) -> None:
    with pytest.raises(error), optional("curves.png"):
        raise error


def test_figure_that_fails_prevents_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise ZeroDivisionError("no")

    rows = [{"epoch": 1, "train_loss": 0.5}]
    counts = torch.eye(2)

    class Objective:
        def confusion_matrix(self) -> torch.Tensor:
            return counts

    monkeypatch.setattr(run_figures, "draw_confusion", fail)
    with pytest.warns(UserWarning, match=r"confusion\.svg was not made"):
        run_figures.save_confusion(tmp_path / "confusion.svg", Objective(), ["a", "b"])
    run_figures.save_training_figures(tmp_path, rows, title="$\\frac$")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    with pytest.warns(UserWarning, match=r"curves\.png was not made"):
        run_figures.save_training_figures(tmp_path, [], title="no rows")

    study = optuna.create_study(directions=["minimize"] * 2)
    study.add_trial(optuna.create_trial(values=[1.0, 2.0]))
    monkeypatch.setattr(study_figures, "draw_history", fail)
    with pytest.warns(UserWarning, match=r"history\.svg was not made"):
        study_figures.save_study_figures(tmp_path / "study", study, ["loss", "macs"])
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["front_macs.svg"]
