"""The event file, read by TensorBoard itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from darts.tracking import TensorBoard


def load(directory: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(directory), size_guidance={"images": 0}).Reload()


def series(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def small_figure() -> Figure:
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.add_subplot().plot([1, 2])
    return figure


def test_all_records_are_in_one_event_file_of_the_run_directory(tmp_path: Path) -> None:
    figure = small_figure()
    with TensorBoard(tmp_path) as board:
        board.log_scalars(1, {"alpha/normal/0→2/skip_connect": 0.25, "absent": None})
        board.log_scalars(2, {"alpha/normal/0→2/skip_connect": torch.tensor(0.5)})
        board.log_text("genotype", "`sep_conv_3x3`", 2)
        board.log_figure("alphas/normal", figure, 2)
        board.log_hparams({"optimizer.lr": 0.1}, {"valid_accuracy": 0.75})
    (file,) = tmp_path.iterdir()
    assert file.is_file()
    assert "tfevents" in file.name
    events = load(tmp_path)
    assert series(events, "alpha/normal/0→2/skip_connect") == [(1, 0.25), (2, 0.5)]
    assert "absent" not in events.Tags()["scalars"]
    text = events.Tensors("genotype/text_summary")[0].tensor_proto.string_val[0]
    assert text == b"`sep_conv_3x3`"
    drawn = events.Images("alphas/normal")[0]
    assert (drawn.step, drawn.width, drawn.height) == (2, 100, 50)
    assert series(events, "valid_accuracy") == [(2, 0.75)]
    assert not figure.axes  # cleared to free its memory


def hparams_of(directory: Path) -> dict[str, Any]:
    from tensorboard.plugins.hparams.metadata import (
        SESSION_START_INFO_TAG,
        parse_session_start_info_plugin_data,
    )

    metadata = load(directory).SummaryMetadata(SESSION_START_INFO_TAG)
    info = parse_session_start_info_plugin_data(metadata.plugin_data.content)
    return {key: getattr(v, v.WhichOneof("kind")) for key, v in info.hparams.items()}


def test_hparams_have_readable_values(tmp_path: Path) -> None:
    params = {
        "seed": 3,
        "dataset.name": "digits",
        "dataset.download": True,
        "dataset.root": None,
        "arch_optimizer.betas": (0.5, 0.999),
        "arch_optimizer.lr": np.float64(3e-4),
    }
    with TensorBoard(tmp_path) as board:
        board.log_hparams(params, {"valid_accuracy": 0.9, "note": "text", "nothing": None}, step=7)
    assert hparams_of(tmp_path) == {
        "seed": 3,
        "dataset.name": "digits",
        "dataset.download": "true",
        "dataset.root": "none",
        "arch_optimizer.betas": "[0.5, 0.999]",
        "arch_optimizer.lr": 3e-4,
    }
    events = load(tmp_path)
    assert series(events, "valid_accuracy") == [(7, pytest.approx(0.9))]
    assert "note" not in events.Tags()["scalars"]


def test_a_resumed_run_repeats_no_record(tmp_path: Path) -> None:
    with TensorBoard(tmp_path) as board:
        board.log_scalars(1, {"loss": 1.0})
        board.flush()
        offset = board.offset
        board.log_scalars(2, {"loss": 2.0})
        board.log_text("note", "lost", 2)
        board.log_hparams({"seed": 1}, {"valid_accuracy": 0.5})
    with TensorBoard(tmp_path, resume_at=offset) as board:
        board.log_scalars(2, {"loss": 5.0})
        board.log_text("note", "kept", 2)
        board.log_hparams({"seed": 2}, {"valid_accuracy": 0.75}, step=2)
    events = load(tmp_path)
    assert series(events, "loss") == [(1, 1.0), (2, 5.0)]
    assert series(events, "valid_accuracy") == [(2, 0.75)]
    (text,) = events.Tensors("note/text_summary")
    assert text.tensor_proto.string_val[0] == b"kept"
    assert hparams_of(tmp_path) == {"seed": 2}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_event_file_is_replaced_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="records of earlier steps are missing"):
        board = TensorBoard(tmp_path, resume_at=100)
    board.log_scalars(2, {"loss": 5.0})
    board.close()
    assert series(load(tmp_path), "loss") == [(2, 5.0)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_records_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = open("/dev/full", "r+b")  # noqa: SIM115 - closed by the writer
    board = TensorBoard(tmp_path)
    assert board._file is not None
    board._file.close()
    monkeypatch.setattr(board._records, "_writer", full)
    monkeypatch.setattr(board, "_file", full)
    board.log_scalars(1, {"loss": 1.0})
    with pytest.warns(UserWarning, match="No space left on device"):
        board.flush()
    assert not board.enabled
    board.log_scalars(2, {"loss": 1.0})  # without a further warning, which would be an error
    board.close()


def test_a_link_to_another_file_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "events.out.tfevents.0").symlink_to(tmp_path / "precious")
    with pytest.warns(UserWarning, match="no more TensorBoard records"):
        TensorBoard(tmp_path).log_scalars(1, {"loss": 1.0})
    assert (tmp_path / "precious").read_text() == "kept"


def test_disabled_writer_writes_nothing(tmp_path: Path) -> None:
    figure = small_figure()
    with TensorBoard(tmp_path / "run", enabled=False) as board:
        board.log_scalars(1, {"loss": 1.0})
        board.log_text("a", "b", 1)
        board.log_figure("c", figure, 1)
        board.log_hparams({"a": 1}, {"b": 2.0})
        board.flush()
        assert not board.enabled
    assert not (tmp_path / "run").exists()
    assert not figure.axes
