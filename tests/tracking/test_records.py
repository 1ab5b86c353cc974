"""Metrics files, event files, the environment of a run, and files that it can do without."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import darts
import darts.plotting.run_figures as run_figures
import darts.plotting.study_figures as study_figures
from darts.reading import FileError
from darts.tracking import MetricsLog, TensorBoard, read_metrics
from darts.tracking.environment import environment, git_state
from darts.tracking.optional import optional
from darts.tracking.tensorboard import EVENT_FILE, event_offset
from darts.tracking.trackers import Board, TrackedRun
from darts.writing import write_json


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    with closing(MetricsLog(path)) as log:
        log.write(step=1, loss=0.5, genotype="0→2")
        log.write(step=2, loss=math.nan)
    first, second = read_metrics(path)
    assert first == {"step": 1, "loss": 0.5, "genotype": "0→2"}
    assert second == {"step": 2, "loss": None}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 8), st.integers(0, 8), st.binary(max_size=20))
def test_resumed_file_equals_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, saved: int, lost: int, torn: bytes
) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    with closing(MetricsLog(folder / "whole.jsonl")) as log:
        for step in range(10):
            log.write(step=step, loss=1 / (step + 1))
    broken = folder / "broken.jsonl"
    with closing(MetricsLog(broken)) as log:
        for step in range(saved):
            log.write(step=step, loss=1 / (step + 1))
        offset = log.offset
        for step in range(lost):
            log.write(step=saved + step, loss=-1.0)
    with open(broken, "ab") as file:
        file.write(torn)
    with closing(MetricsLog(broken, resume_at=offset)) as log:
        assert log.offset == offset
        for step in range(saved, 10):
            log.write(step=step, loss=1 / (step + 1))
    assert broken.read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_an_offset_beyond_the_file_raises_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(FileError, match=r"metrics\.jsonl at byte 12: the file has 9 bytes"):
        MetricsLog(path, resume_at=12)
    assert path.read_text() == '{"a": 1}\n'


@pytest.mark.parametrize("torn", [b'{"a": 2', b"\xe2\x86", b"12", b'{"a": 2}'[:1]])
def test_incomplete_last_line_is_skipped(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n' + torn)
    assert read_metrics(path) == [{"a": 1}]


def test_invalid_line_elsewhere_raises_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        read_metrics(path)


def load(directory: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(directory), size_guidance={"images": 0}).Reload()


def series(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def open_board(
    directory: Path, offset: int = 0, *, step: int | None = None, **params: Any
) -> Board:
    """Return a board with TensorBoard only; ``offset`` and ``step`` are those of a checkpoint."""
    board, run = Board(), TrackedRun(directory, "digits", params, step)
    board.open("TensorBoard", lambda: TensorBoard(run, offset))
    return board


def test_all_records_are_in_one_event_file_of_the_run_directory(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.add_subplot().plot([1, 2])
    board = open_board(tmp_path)
    board.log_scalars(1, {"alpha/normal/0→2/skip_connect": 0.25, "absent": None})
    board.log_scalars(2, {"alpha/normal/0→2/skip_connect": torch.tensor(0.5)})
    board.log_text("genotype", "`sep_conv_3x3`", 2)
    board.log_figure("alphas/normal", figure, 2)
    board.log_results({"valid_accuracy": 0.75, "loss": float("nan")})
    board.close()
    (file,) = tmp_path.iterdir()
    assert file.is_file()
    assert "tfevents" in file.name
    events = load(tmp_path)
    assert series(events, "alpha/normal/0→2/skip_connect") == [(1, 0.25), (2, 0.5)]
    text = events.Tensors("genotype/text_summary")[0].tensor_proto.string_val[0]
    assert text == b"`sep_conv_3x3`"
    drawn = events.Images("alphas/normal")[0]
    assert (drawn.step, drawn.width, drawn.height) == (2, 100, 50)
    assert series(events, "summary/valid_accuracy") == [(2, 0.75)]
    assert not {"absent", "loss"} & set(events.Tags()["scalars"])
    assert not figure.axes  # cleared to free its memory


def hparams_of(directory: Path) -> dict[str, Any]:
    from tensorboard.plugins.hparams import metadata

    summary = load(directory).SummaryMetadata(metadata.SESSION_START_INFO_TAG)
    info = metadata.parse_session_start_info_plugin_data(summary.plugin_data.content)
    return {key: getattr(v, v.WhichOneof("kind")) for key, v in info.hparams.items()}


def test_hparams_have_readable_values(tmp_path: Path) -> None:
    params: dict[str, Any] = {
        "seed": 3,
        "dataset.name": "digits",
        "dataset.download": True,
        "dataset.root": None,
        "arch_optimizer.betas": (0.5, 0.999),
        "arch_optimizer.lr": np.float64(3e-4),
    }
    board = open_board(tmp_path, **params)
    board.log_results({"valid_accuracy": 0.9})
    board.close()
    assert hparams_of(tmp_path) == {
        "seed": 3,
        "dataset.name": "digits",
        "dataset.download": "true",
        "dataset.root": "none",
        "arch_optimizer.betas": "[0.5, 0.999]",
        "arch_optimizer.lr": 3e-4,
    }


def test_a_resumed_run_repeats_no_record(tmp_path: Path) -> None:
    board = open_board(tmp_path, seed=1)
    board.log_scalars(1, {"loss": 1.0})
    board.flush()
    offset = event_offset(tmp_path)
    board.log_scalars(2, {"loss": 2.0})
    board.log_text("note", "lost", 2)
    board.log_results({"valid_accuracy": 0.5})
    board.close()
    board = open_board(tmp_path, offset, step=1, seed=2)
    board.log_scalars(2, {"loss": 5.0})
    board.log_text("note", "kept", 2)
    board.log_results({"valid_accuracy": 0.75})
    board.close()
    events = load(tmp_path)
    assert series(events, "loss") == [(1, 1.0), (2, 5.0)]
    assert series(events, "summary/valid_accuracy") == [(2, 0.75)]
    (text,) = events.Tensors("note/text_summary")
    assert text.tensor_proto.string_val[0] == b"kept"
    assert hparams_of(tmp_path) == {"seed": 2}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_event_file_is_replaced_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="records of earlier steps are missing"):
        board = open_board(tmp_path, 100, step=1)
    board.log_scalars(2, {"loss": 5.0})
    board.close()
    assert series(load(tmp_path), "loss") == [(2, 5.0)]


def test_a_link_to_another_file_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / EVENT_FILE).symlink_to(tmp_path / "precious")
    with pytest.warns(UserWarning, match=rf"no more records for TensorBoard: .*{EVENT_FILE}"):
        board = open_board(tmp_path)
    board.log_scalars(1, {"loss": 1.0})
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_records_with_one_warning(tmp_path: Path) -> None:
    board = Board()
    tensorboard = TensorBoard(TrackedRun(tmp_path, "digits", {}, None))
    board.open("TensorBoard", lambda: tensorboard)
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), tensorboard._file.fileno())
    board.log_scalars(1, {"loss": 1.0})
    with pytest.warns(UserWarning, match="no more records for TensorBoard: .*No space left"):
        board.flush()
    assert not board.enabled
    board.log_scalars(2, {"loss": 1.0})  # without a further warning, which would be an error
    board.close()


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


def test_a_figure_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail = Mock(side_effect=ZeroDivisionError("no"))
    counts = torch.eye(2)

    class Objective:
        def confusion_matrix(self) -> torch.Tensor:
            return counts

    monkeypatch.setattr(run_figures, "draw_confusion", fail)
    with pytest.warns(UserWarning, match=r"confusion\.svg was not made"):
        run_figures.save_confusion(tmp_path / "confusion.svg", Objective(), ["a", "b"])
    assert not list(tmp_path.iterdir())
    study = optuna.create_study(directions=["minimize"] * 2)
    study.add_trial(optuna.create_trial(values=[1.0, 2.0]))
    monkeypatch.setattr(study_figures, "draw_history", fail)
    with pytest.warns(UserWarning, match=r"history\.svg was not made"):
        study_figures.save_study_figures(tmp_path / "study", study, ["loss", "macs"])
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["front_macs.svg"]
