"""Checkpoints are written atomically, verified, and never execute code."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from darts.training import checkpoint
from darts.training.checkpoint import (
    FORMATS,
    CheckpointError,
    checkpoint_errors,
    load_checkpoint,
    save_checkpoint,
)
from darts.training.random_states import random_states
from darts.typed_values import Misfit

CPU = torch.device("cpu")


def example_state() -> dict[str, Any]:
    """Return a checkpoint with all kinds of values: tensors, numbers, text, lists and None."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    adam = torch.optim.Adam(net.parameters(), lr=0.1, betas=(0.5, 0.999))
    net(torch.ones(2, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    adam.step()
    return {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "arch_optimizer": adam.state_dict(),
        "epoch": 3,
        "scores": {"accuracy": 0.1 + 0.2, "loss": float("inf")},
        "chosen": None,
        "config": {"genotype": "Genotype(...)", "betas": [0.5, 0.999], "flip": True},
        "random": random_states(CPU),
    }


def identical(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(identical(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(identical, left, right))
    return type(left) is type(right) and left == right


def assert_refused(path: Path, match: str, *kinds: str) -> None:
    """Check that loading raises an error of one line that names the file."""
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(path, *kinds)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_saved_state_is_loaded_unchanged(tmp_path: Path) -> None:
    path, state = tmp_path / "run" / "checkpoint.pt", example_state()
    save_checkpoint(path, "search", state)
    for kinds in (("search",), ("retrain", "search"), ()):
        loaded = load_checkpoint(path, *kinds)
        assert identical({key: loaded[key] for key in state}, state)
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]
    assert torch.load(path, weights_only=True)["epoch"] == 3


class Unpicklable:
    """An object that ``torch.save`` cannot write."""

    def __reduce__(self) -> Any:
        raise RuntimeError("the disk is full")


def test_a_failed_write_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "search", {"epoch": 1})
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="the disk is full"):
        save_checkpoint(path, "search", {"epoch": 2, "bad": Unpicklable()})

    def write_half(value: Any, file: Any) -> None:
        file.write(before[: len(before) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", write_half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, "search", {"epoch": 3})
    assert path.read_bytes() == before
    assert load_checkpoint(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_readers_see_the_previous_checkpoint_during_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = tmp_path / "checkpoint.pt", torch.save
    save_checkpoint(path, "search", {"epoch": 1})
    epochs: list[int] = []

    def save_and_read(value: Any, file: Any) -> None:
        epochs.append(load_checkpoint(path)["epoch"])
        original(value, file)
        epochs.append(load_checkpoint(path)["epoch"])

    monkeypatch.setattr(checkpoint.torch, "save", save_and_read)
    save_checkpoint(path, "search", {"epoch": 2})
    assert epochs == [1, 1]
    assert load_checkpoint(path)["epoch"] == 2


def test_a_flipped_bit_of_a_tensor_is_detected(tmp_path: Path) -> None:
    path, weights = tmp_path / "checkpoint.pt", torch.arange(1000.0)
    save_checkpoint(path, "search", {"weights": weights})
    data = bytearray(path.read_bytes())
    position = bytes(data).index(weights.numpy().tobytes()) + 1234
    data[position] ^= 4
    path.write_bytes(data)
    # PyTorch itself loads the damaged file.
    assert not torch.equal(torch.load(path, weights_only=True)["weights"], weights)
    assert_refused(path, "is damaged or not a checkpoint: Bad CRC-32 for file")


def test_any_flipped_bit_is_detected_or_harmless(tmp_path: Path) -> None:
    path, state = tmp_path / "checkpoint.pt", {"weights": torch.arange(40.0), "epoch": 7}
    save_checkpoint(path, "search", state)
    data = path.read_bytes()
    draw = random.Random(0)
    detected = 0
    for position in sorted(draw.sample(range(len(data)), 400)):
        broken = bytearray(data)
        broken[position] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        try:
            loaded = load_checkpoint(path, "search")
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017
            detected += 1
        else:  # padding or a time stamp
            assert identical({key: loaded[key] for key in state}, state), position
    assert detected > 100


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "search", example_state())
    data = path.read_bytes()
    for length in (0, 1, 10, len(data) // 2, len(data) - 30, len(data) - 1):
        path.write_bytes(data[:length])
        assert_refused(path, "damaged or not a checkpoint")


def test_files_that_are_not_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert_refused(path, "no checkpoint at")
    assert_refused(tmp_path, "no checkpoint at")
    assert_refused(path / "below", "no checkpoint at")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.txt", "sun")
    assert_refused(path, "it must have exactly one member data.pkl")
    path.write_text("epoch: 3\n")
    assert_refused(path, "damaged or not a checkpoint")
    other: Any
    for other in ({"state_dict": {}}, {"format": 1}, [1, 2]):
        torch.save(other, path)
        assert_refused(path, "is not a checkpoint of darts-nas")
    torch.save({"format": 99, "kind": "search"}, path)
    assert_refused(path, "another version of darts-nas: format 99, not ")
    torch.save({"format": 1, "kind": "search"}, path, _use_new_zipfile_serialization=False)
    assert_refused(path, "damaged or not a checkpoint")


class Exploit:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_pickled_code_is_refused_and_not_executed(tmp_path: Path) -> None:
    path, mark = tmp_path / "checkpoint.pt", tmp_path / "mark"
    torch.save({"format": 1, "kind": "search", "net": Exploit(mark)}, path)
    assert_refused(path, r"it holds an object of __builtin__.getattr")
    assert not mark.exists()
    with path.open("wb") as file:
        pickle.dump({"format": 1, "kind": "search", "net": Exploit(mark)}, file)
    assert_refused(path, "damaged or not a checkpoint")
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # noqa: S301  the exploit works without the check
    assert mark.exists()


def test_a_checkpoint_of_another_command_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "search", {"epoch": 1})
    assert_refused(path, "was written by search, not by retrain", "retrain")
    assert load_checkpoint(path, "search")["epoch"] == 1


def test_an_older_format_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for kind, version in FORMATS.items():
        torch.save({"format": 1, "kind": kind}, path)
        with pytest.raises(
            CheckpointError, match=rf"another version of darts-nas: format 1, not {version}$"
        ):
            load_checkpoint(path)
        torch.save({"format": version, "kind": kind}, path)
        assert load_checkpoint(path)["kind"] == kind


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    os.mkfifo(path)
    assert_refused(path, "is not a regular file")


def test_format_must_be_a_number_and_kind_a_string(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    unknown = {"kind": "unknown", "format": 1}
    wrongs = ({"format": True}, {"format": "7"}, {"kind": None}, {"kind": ["search"]}, unknown)
    for wrong in wrongs:
        torch.save({"format": FORMATS["search"], "kind": "search", **wrong}, path)
        assert_refused(path, "is not a checkpoint of darts-nas")


def test_errors_of_using_a_checkpoint_name_the_file_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    errors = (Misfit("epoch is -1"), RuntimeError("size\nmismatch"), KeyError("x"), ValueError("y"))
    for error in errors:
        with pytest.raises(CheckpointError) as caught, checkpoint_errors(path):
            raise error
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    for unrelated in (torch.OutOfMemoryError("full"), OSError(5, "input/output error")):
        with pytest.raises(type(unrelated)), checkpoint_errors(path):
            raise unrelated
