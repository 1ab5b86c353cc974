"""Trackers besides TensorBoard: all get the same numbers, also from a run that was resumed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from darts.config import ConfigError
from darts.tracking.trackers import TRACKERS, Board, TrackedRun, Tracker
from darts.tracking.trackers.tracker import check_trackers
from darts.writing import write_json

Scalars = dict[tuple[int, str], float]
FIRST = {1: {"loss/train": 2.5, "lr/weights": 0.1}, 2: {"loss/train": 1.5}, 3: {"loss/train": 1.0}}
SECOND = {3: {"loss/train": 1.0}, 4: {"loss/train": 0.5, "lr/weights": 0.05}}
EXPECTED = {
    (step, tag): value
    for steps in (FIRST, SECOND)
    for step, scalars in steps.items()
    for tag, value in scalars.items()
}


def wandb_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of an offline file: blocks of 32 KiB, chunks with headers of 7 bytes."""
    place, record = 7, b""  # after the header of the file
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last chunk
            yield record
            record = b""


def read_wandb(folder: Path, run: str) -> Scalars:
    """Read the files that ``wandb sync`` would send; later files go on with the same run."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = Scalars()
    for file in sorted((folder / "run" / "wandb").glob(f"offline-run-*-{run}*/*.wandb")):
        for data in wandb_records(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            items = record.history.item
            values = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
            for tag, value in values.items():
                if not tag.startswith("_") and isinstance(value, float | int):
                    found[int(values["_step"]), tag] = value
    return found


@pytest.fixture(autouse=True)
def local(cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves the folders of the tests."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def tracked(folder: Path, resumed_at: int | None = None) -> TrackedRun:
    """Return a run as its trackers see it; one that is not resumed begins at another time."""
    directory = folder / "run"
    directory.mkdir(exist_ok=True)
    if resumed_at is None:
        write_json(directory / "env.json", {"started": time.monotonic_ns()})
    return TrackedRun(directory, "digits", {"optimizer.lr": 0.1, "method": "gdas"}, resumed_at)


def open_board(folder: Path, *names: str, resumed_at: int | None = None) -> Board:
    board = Board()
    run = tracked(folder, resumed_at)
    for name in names:
        board.open(name, partial(TRACKERS[name], run))
    return board


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb
def test_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    board = open_board(tmp_path, "wandb")
    for step, scalars in FIRST.items():
        board.log_scalars(step, {**scalars, "absent": None})
    board.close()  # killed after step 3; the checkpoint is of step 2
    board = open_board(tmp_path, "wandb", resumed_at=2)
    for step, scalars in SECOND.items():
        board.log_scalars(step, scalars)
    board.log_results({"test_accuracy": 0.75})
    board.close()
    run = tracked(tmp_path, resumed_at=4).key()
    deadline = time.monotonic() + 20  # a process of wandb writes its files a little later
    while not (found := read_wandb(tmp_path, run)).items() >= EXPECTED.items():
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert found == EXPECTED


def test_only_a_resumed_run_goes_on_with_the_records_of_a_run(tmp_path: Path) -> None:
    """Whatever the files of a directory say, the key also depends on its place."""
    (tmp_path / "a").mkdir()
    victim = tracked(tmp_path / "a").key()
    assert tracked(tmp_path / "a", resumed_at=3).key() == victim
    (tmp_path / "b" / "run").mkdir(parents=True)
    shutil.copy(tmp_path / "a" / "run" / "env.json", tmp_path / "b" / "run")
    assert tracked(tmp_path / "b", resumed_at=3).key() != victim
    assert tracked(tmp_path / "a").key() != victim  # a new run in the same place


def test_a_run_without_a_key_stops_the_tracker_and_not_the_run(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"no more records for wandb: .*env\.json"):
        assert not open_board(tmp_path, "wandb", resumed_at=3).enabled


def test_wandb_without_a_key_does_not_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb, "login", lambda prompt: prompt)  # as without credentials: False
    with pytest.warns(UserWarning, match=r"no more records for wandb: there is no API key"):
        assert not open_board(tmp_path, "wandb").enabled


class Recorder(Tracker):
    name = "recorder"

    def __init__(self, run: TrackedRun) -> None:
        self.found = Scalars()

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self.found |= {(step, tag): value for tag, value in scalars.items()}

    def log_results(self, metrics: Mapping[str, float]) -> None:
        pass


class Broken(Tracker):
    name = "broken"

    def __init__(self, run: TrackedRun) -> None:
        self.calls = 0

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self.calls += 1
        raise ConnectionError("the server has gone")

    def log_results(self, metrics: Mapping[str, float]) -> None:
        self.calls += 1


def test_a_failing_tracker_warns_once_and_the_others_go_on(tmp_path: Path) -> None:
    broken, recorder = Broken(tracked(tmp_path)), Recorder(tracked(tmp_path))
    board = Board()
    board.open("broken", lambda: broken)
    board.open("recorder", lambda: recorder)
    with pytest.warns(UserWarning, match="no more records for broken: the server has gone"):
        board.log_scalars(1, {"loss": 1.0})
    board.log_scalars(2, {"loss": 2.0})  # a second warning would be an error
    board.log_results({})
    board.close()
    assert broken.calls == 1
    assert recorder.found == {(1, "loss"): 1.0, (2, "loss"): 2.0}
    assert not board.enabled


def test_unknown_trackers_and_missing_packages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"tracking\.trackers='aim' is unknown; choose from wandb"
    ):
        check_trackers(["aim"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="wandb is not installed; run pip install wandb"):
        check_trackers(["wandb"])
