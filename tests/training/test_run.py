"""A training run owns its directory, and resumes only what it wrote itself."""

from __future__ import annotations

import dataclasses
import errno
import functools
from pathlib import Path

import pytest
import torch

from darts.config import ConfigError, Invocation, RetrainConfig, compose
from darts.training.checkpoint import CheckpointError
from darts.training.distributed import Ranks
from darts.training.run import TrainingRun
from darts.writing import WriteError

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
        f"python -m darts.retrain 'resume={tmp_path / 'a run'}'"
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
