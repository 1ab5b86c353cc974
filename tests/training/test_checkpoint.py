"""Checkpoints are loaded unchanged, verified, and never execute code."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from end_states import identical
from safetensors import safe_open
from safetensors.torch import save

from darts.training import checkpoint
from darts.training.checkpoint import (
    FORMATS,
    CheckpointError,
    checkpoint_errors,
    load_checkpoint,
    save_checkpoint,
)
from darts.training.device import random_states
from darts.typed_values import Misfit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


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
        "random": random_states(torch.device("cpu")),
    }


def assert_refused(path: Path, match: str, *kinds: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(path, *kinds)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_saved_state_is_loaded_unchanged(tmp_path: Path) -> None:
    path, state = tmp_path / "run" / "checkpoint.safetensors", example_state()
    save_checkpoint(path, "search", state)
    for kinds in (("search",), ("retrain", "search"), ()):
        loaded = load_checkpoint(path, *kinds)
        assert identical({key: loaded[key] for key in state}, state)
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.safetensors"]
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["darts"])["epoch"] == 3
        assert file.get_tensor("net.1.running_var").shape == (2,)


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([True, False]),
        torch.arange(3),
        torch.randn(4).bfloat16(),
        torch.randn(4, dtype=torch.float64),
        torch.tensor(2.5),
        torch.zeros(0, 3),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(4, 3).t(),
        torch.zeros(1).expand(5),
        torch.nn.Parameter(torch.randn(3)),
        [0, -1, 2**62, -(2**63), 2**63, 0.1, 5e-324, float("-inf"), float("nan")],
        {"a": [], "b": {}, "c": "ü\ud800\n", "d": None, "e": {"f": [True, False]}},
    ],
    ids=lambda value: str(getattr(value, "dtype", "plain")),
)
def test_each_value_is_loaded_unchanged(path: Path, value: Any) -> None:
    save_checkpoint(path, "search", {"value": value})
    assert identical(load_checkpoint(path)["value"], value)


def test_tied_weights_stay_tied_and_other_views_are_copied(path: Path) -> None:
    weight = torch.randn(4, 3)
    net = {"encoder": weight, "decoder": weight, "row": weight[1], "transposed": weight.t()}
    save_checkpoint(path, "search", {"net": net, "empty": [torch.zeros(0), torch.zeros(0)]})
    loaded = load_checkpoint(path)["net"]
    assert loaded["encoder"] is loaded["decoder"]
    assert identical(loaded, net)
    with safe_open(path, "pt") as file:
        assert sorted(file.keys()) == ["empty.0", "net.encoder", "net.row", "net.transposed"]


def test_any_flipped_bit_is_detected(path: Path) -> None:
    save_checkpoint(path, "search", {"weights": torch.arange(40.0), "epoch": 7})
    data = path.read_bytes()
    draw = random.Random(0)
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path, "search")
        assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(path: Path) -> None:
    save_checkpoint(path, "search", example_state())
    data = path.read_bytes()
    for length in (0, 1, 8, 10, len(data) // 2, len(data) - 30, len(data) - 1):
        path.write_bytes(data[:length])
        assert_refused(path, "is damaged, or not a checkpoint of darts-nas")
    path.write_bytes(data + b"\0")
    assert_refused(path, "is damaged, or not a checkpoint of darts-nas")


def with_text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(save({}, {"darts": text, "crc32": "0"}))


FOREIGN: dict[str, Callable[[Path], object]] = {
    "other metadata": lambda path: path.write_bytes(save({}, {"format": "pt"})),
    "huge header": lambda path: path.write_bytes(b"\xff" * 8 + b"{}"),
    "nested header": lambda path: path.write_bytes((2**20).to_bytes(8, "little") + b"[" * 2**20),
    "no kind": with_text('{"format": 1}'),
    "unknown kind": with_text('{"format": 1, "kind": "holiday"}'),
    "no such tensor": with_text(
        json.dumps({"format": FORMATS["search"], "kind": "search", "net": {"$tensor": "a"}})
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_are_not_checkpoints_are_refused(path: Path, name: str) -> None:
    FOREIGN[name](path)
    assert_refused(path, "is damaged, or not a checkpoint of darts-nas")


def test_a_missing_file_is_refused(tmp_path: Path, path: Path) -> None:
    for missing in (path, tmp_path, path / "below"):
        assert_refused(missing, "no checkpoint at")


def test_a_checkpoint_of_another_command_is_refused(path: Path) -> None:
    save_checkpoint(path, "search", {"epoch": 1})
    assert_refused(path, "was written by search, not by retrain", "retrain")
    assert load_checkpoint(path, "search")["epoch"] == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_another_format_is_refused_with_its_number(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    version = FORMATS[kind]
    with monkeypatch.context() as patch:
        patch.setitem(checkpoint.FORMATS, kind, 99)
        save_checkpoint(path, kind, {})
    assert_refused(path, rf"another version of darts-nas: format 99, not {version}$")
    save_checkpoint(path, kind, {})
    assert load_checkpoint(path) == {"format": version, "kind": kind}


def test_errors_of_using_a_checkpoint_name_the_file_in_one_line(path: Path) -> None:
    errors = (Misfit("epoch is -1"), RuntimeError("size\nmismatch"), KeyError("x"), ValueError("y"))
    for error in errors:
        with pytest.raises(CheckpointError) as caught, checkpoint_errors(path):
            raise error
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    for unrelated in (torch.OutOfMemoryError("full"), OSError(5, "input/output error")):
        with pytest.raises(type(unrelated)), checkpoint_errors(path):
            raise unrelated
