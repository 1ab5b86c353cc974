"""Run directories have one owner, and a run resumes only what it wrote itself."""

from __future__ import annotations

import dataclasses
import errno
import functools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from darts.config import ConfigError, Invocation, RetrainConfig, SearchConfig, compose, rebuild
from darts.training.checkpoint import CheckpointError
from darts.training.distributed import Ranks
from darts.training.run import TrainingRun
from darts.training.run_directory import RunDirectory
from darts.training.run_lock import LOCK_FILE, RunLock
from darts.writing import WriteError

OVERRIDES = ["dataset=synthetic", "epochs=3", "resume=elsewhere"]


def make_config(*overrides: str) -> SearchConfig:
    return compose("search", ["dataset=synthetic", *overrides])


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "a" / "run", "search")


def test_begin_writes_configuration_overrides_and_environment(directory: RunDirectory) -> None:
    config = make_config("epochs=3")
    directory.begin(config, OVERRIDES)
    text = (directory.path / "config.yaml").read_text(encoding="utf-8")
    assert rebuild(SearchConfig, yaml.safe_load(text)) == config
    assert directory.overrides() == OVERRIDES[:2]  # without resume
    assert directory.read_json("overrides.json")["command"] == "search"
    assert "python" in directory.read_json("env.json")


def test_a_directory_with_a_run_is_refused(directory: RunDirectory) -> None:
    directory.require_unused()
    directory.path.mkdir(parents=True)
    directory.write("notes.txt", "not a run")
    directory.require_unused()
    directory.begin(make_config(), OVERRIDES)
    with pytest.raises(ConfigError) as error_info:
        directory.require_unused()
    assert str(error_info.value) == (
        f"{directory.path} already holds a run; choose another hydra.run.dir, or continue that "
        f"run with resume={directory.path}"
    )
    directory.require_unused(repeatable=True)  # replaces its own incomplete runs


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epochs=3"], "epochs is 2 in the run and 3 here"),
        (["optimizer.lr=0.5"], "optimizer.lr is 0.025 in the run and 0.5 here"),
        (["epochs=3", "seed=1", "precision=bf16"], r" here \(and 2 more keys\)$"),
    ],
)
def test_a_different_configuration_is_refused_with_its_key(
    directory: RunDirectory, overrides: list[str], message: str
) -> None:
    saved = dataclasses.asdict(make_config())
    with pytest.raises(ConfigError, match=message) as error_info:
        directory.require_same_config(saved, make_config(*overrides))
    assert str(error_info.value).startswith(f"cannot resume {directory.path}: ")


HOLD = """
import sys, time
from pathlib import Path
from darts.training.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_owns_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigError) as caught:
            RunLock(tmp_path)
        message = f"is in use by process {owner.pid} on {socket.gethostname()}, started 20"
        assert message in str(caught.value)
        owner.send_signal(signal.SIGSTOP)  # a stopped process still owns its run
        with pytest.raises(ConfigError):
            RunLock(tmp_path)
        owner.kill()
    lock = RunLock(tmp_path)
    assert f"process {os.getpid()} on " in (tmp_path / LOCK_FILE).read_text()
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    """The loader processes of a killed run end a few seconds after it."""
    lock = RunLock(tmp_path)
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60.0,))
    child.start()
    time.sleep(0.2)
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()} on "):
        RunLock(tmp_path)
    # Closing without `release` is what the end of the process does.
    lock._file.close()
    RunLock(tmp_path).release()
    child.kill()
    child.join()


def test_a_claim_without_files_leaves_nothing(tmp_path: Path) -> None:
    files = RunDirectory(tmp_path / "run", "search")
    files.claim_unused()
    files.release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    with files:
        files.claim_unused()
    assert (tmp_path / "run").exists()  # it was there before


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.safetensors.123.tmp").write_text("half")
    (tmp_path / ".notes").write_text("kept")
    with RunDirectory(tmp_path, "search") as files:
        files.claim()
        assert {file.name for file in tmp_path.iterdir()} == {".notes", LOCK_FILE}


SUBSETS = {"train": torch.arange(4)}


@functools.cache
def base_config() -> RetrainConfig:
    overrides = ["dataset=synthetic", "genotype=DARTS_V2", "tracking.tensorboard=false"]
    return compose("retrain", overrides)


def make_run(path: Path, *, resume: bool = False, dry_run: bool = False) -> TrainingRun:
    reference = str(path) if resume else None
    config = dataclasses.replace(base_config(), resume=reference, dry_run=dry_run)
    return TrainingRun("retrain", Invocation(path, ()), config, ranks=Ranks("cpu"))


def save_one_step(path: Path) -> None:
    with make_run(path) as run:
        run.begin(SUBSETS)
        run.log(1, {"loss": 0.5}, {})
        run.save(1, {})


def test_a_run_is_owned_from_its_first_to_its_last_file(tmp_path: Path) -> None:
    with make_run(tmp_path / "run") as run:
        run.begin(SUBSETS)
        with pytest.raises(ConfigError, match="is in use by process"):
            make_run(tmp_path / "run", resume=True)
        with pytest.raises(ConfigError, match="is in use by process"):
            make_run(tmp_path / "run")
        run.finish({"valid_accuracy": 0.5})
    with pytest.raises(ConfigError, match="is complete; nothing to resume"):
        make_run(tmp_path / "run", resume=True)
    assert not (tmp_path / "run" / "run.lock").exists()


def test_another_data_set_is_refused(tmp_path: Path) -> None:
    save_one_step(tmp_path)
    with make_run(tmp_path, resume=True) as run:
        with pytest.raises(CheckpointError, match="the data set is not the one with which"):
            run.begin({"train": torch.arange(5)})
        with pytest.raises(CheckpointError, match="the data set is not the one with which"):
            run.begin({"other": torch.arange(4)})


def test_another_number_of_threads_causes_a_warning(tmp_path: Path) -> None:
    save_one_step(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.warns(UserWarning, match=f"began with {threads} threads and resumes with"):
            run = make_run(tmp_path, resume=True)
    finally:
        torch.set_num_threads(threads)
    run.close()


def test_a_full_disk_ends_with_the_command_that_resumes(tmp_path: Path) -> None:
    save_one_step(tmp_path / "a run")
    with (  # noqa: PT012
        pytest.raises(WriteError) as caught,
        make_run(tmp_path / "a run", resume=True) as run,
    ):
        run.begin(SUBSETS)
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == (
        "No space left on device; the checkpoint of step 1 is complete, continue with: "
        f"darts retrain 'resume={tmp_path / 'a run'}'"
    )


def test_a_dry_run_owns_and_writes_nothing(tmp_path: Path) -> None:
    save_one_step(tmp_path / "run")
    with make_run(tmp_path / "run", dry_run=True, resume=True) as run:
        assert run.saved is not None
        with make_run(tmp_path / "run", resume=True):
            pass
    with make_run(tmp_path / "new", dry_run=True):
        pass
    assert not (tmp_path / "new").exists()
