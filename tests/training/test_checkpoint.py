"""Checkpoints: whole or absent, verified, never executed."""

from __future__ import annotations

import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darts.training import checkpoint
from darts.training.checkpoint import (
    FORMATS,
    CheckpointError,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)


def content() -> dict[str, Any]:
    """What a run keeps: nets, optimizers with their odd keys, counters, text, None."""
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
        "random": random_states(),
    }


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def refused(path: Path, match: str, kind: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(path, kind)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_everything_comes_back(tmp_path: Path) -> None:
    path, given = tmp_path / "run" / "checkpoint.pt", content()
    save_checkpoint(path, "search", given)
    for kind in ("search", None):
        loaded = load_checkpoint(path, kind)
        assert same({key: loaded[key] for key in given}, given)
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]
    assert torch.load(path, weights_only=True)["epoch"] == 3


def test_all_generators_go_on_where_they_were(tmp_path: Path) -> None:
    def draw() -> list[Any]:
        return [
            random.random(),
            random.gauss(0, 1),
            np.random.rand(3).tolist(),
            np.random.standard_normal(),
            np.random.randint(1 << 30),
            torch.rand(3).tolist(),
            torch.randn(5).tolist(),
            torch.randperm(9).tolist(),
        ]

    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    # An odd number of normal draws leaves a second one waiting in Python's and NumPy's.
    random.gauss(0, 1), np.random.standard_normal(), torch.randn(1)
    save_checkpoint(tmp_path / "c.pt", "search", {"random": random_states()})
    wanted = draw()
    random.seed(4)
    np.random.seed(5)
    torch.manual_seed(6)
    assert draw() != wanted
    restore_random_states(load_checkpoint(tmp_path / "c.pt")["random"])
    assert draw() == wanted


class Unwilling:
    def __reduce__(self) -> Any:
        raise RuntimeError("the disk is full")


def test_a_failing_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "search", {"epoch": 1})
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="the disk is full"):
        save_checkpoint(path, "search", {"epoch": 2, "bad": Unwilling()})

    def half(value: Any, file: Any) -> None:
        file.write(before[: len(before) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, "search", {"epoch": 3})
    assert path.read_bytes() == before
    assert load_checkpoint(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_file_is_never_seen_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "checkpoint.pt", torch.save
    save_checkpoint(path, "search", {"epoch": 1})
    seen: list[int] = []

    def watched(value: Any, file: Any) -> None:
        seen.append(load_checkpoint(path)["epoch"])
        real(value, file)
        seen.append(load_checkpoint(path)["epoch"])

    monkeypatch.setattr(checkpoint.torch, "save", watched)
    save_checkpoint(path, "search", {"epoch": 2})
    assert seen == [1, 1]
    assert load_checkpoint(path)["epoch"] == 2


def test_a_flipped_bit_among_the_numbers_is_found(tmp_path: Path) -> None:
    path, weights = tmp_path / "checkpoint.pt", torch.arange(1000.0)
    save_checkpoint(path, "search", {"weights": weights})
    data = bytearray(path.read_bytes())
    place = bytes(data).index(weights.numpy().tobytes()) + 1234
    data[place] ^= 4
    path.write_bytes(data)
    # PyTorch itself would take it.
    assert not torch.equal(torch.load(path, weights_only=True)["weights"], weights)
    refused(path, "is damaged: checksum of .* differs")


def test_a_flipped_bit_anywhere_is_found_or_does_no_harm(tmp_path: Path) -> None:
    path, given = tmp_path / "checkpoint.pt", {"weights": torch.arange(40.0), "epoch": 7}
    save_checkpoint(path, "search", given)
    data = path.read_bytes()
    draw = random.Random(0)
    found = 0
    for place in sorted(draw.sample(range(len(data)), 400)):
        broken = bytearray(data)
        broken[place] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        try:
            loaded = load_checkpoint(path, "search")
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017
            found += 1
        else:  # padding, a time stamp
            assert same({key: loaded[key] for key in given}, given), place
    assert found > 100


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "search", content())
    data = path.read_bytes()
    for length in (0, 1, 10, len(data) // 2, len(data) - 30, len(data) - 1):
        path.write_bytes(data[:length])
        refused(path, "damaged or not a checkpoint")


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    refused(path, "no checkpoint at")
    refused(tmp_path, "no checkpoint at")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.txt", "sun")
    refused(path, "cannot be read")
    path.write_text("epoch: 3\n")
    refused(path, "damaged or not a checkpoint")
    foreign: Any
    for foreign in ({"state_dict": {}}, {"format": 99, "kind": "search"}, {"format": 1}, [1, 2]):
        torch.save(foreign, path)
        refused(path, "is not a checkpoint of darts-nas")
    torch.save({"format": 1, "kind": "search"}, path, _use_new_zipfile_serialization=False)
    refused(path, "damaged or not a checkpoint")


class Bomb:
    """Leaves a mark when a pickle of it is loaded with trust."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_code_in_a_file_is_refused_and_not_executed(tmp_path: Path) -> None:
    path, mark = tmp_path / "checkpoint.pt", tmp_path / "mark"
    torch.save({"format": 1, "kind": "search", "net": Bomb(mark)}, path)
    refused(path, "cannot be read")
    assert not mark.exists()
    with path.open("wb") as file:
        pickle.dump({"format": 1, "kind": "search", "net": Bomb(mark)}, file)
    refused(path, "damaged or not a checkpoint")
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # noqa: S301  the bomb does work
    assert mark.exists()


def test_the_checkpoint_of_another_command_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "search", {"epoch": 1})
    refused(path, "was written by search, not by retrain", kind="retrain")
    assert load_checkpoint(path, "search")["epoch"] == 1


def test_a_search_of_an_older_format_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for kind, known in FORMATS.items():
        torch.save({"format": 1, "kind": kind}, path)
        with pytest.raises(CheckpointError, match=rf"of this version: format 1, not {known}$"):
            load_checkpoint(path)
        torch.save({"format": known, "kind": kind}, path)
        assert load_checkpoint(path)["kind"] == kind
