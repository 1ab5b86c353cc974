"""A search keeps copies of its latency models, and is not resumed with others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import pytest
import torch

from darts.config import ConfigError, Invocation, SearchConfig, compose
from darts.data_modules import make_data_module
from darts.recipes.first_files import write_first_files
from darts.training.distributed import Ranks
from darts.training.run import TrainingRun

WORDS = ("dataset=synthetic", "dataset.samples=64", "space=nas201", "tracking.tensorboard=false")


def start(path: Path, model: Path, *, resume: bool = False) -> None:
    """Begin a search, write the first files and a checkpoint."""
    words = [*WORDS, "limit.latency_ms=3", f"limit.device={model}"]
    config = cast("SearchConfig", compose("search", words))
    config = dataclasses.replace(config, resume=str(path) if resume else None)
    data = make_data_module(config, Ranks("cpu"))
    with TrainingRun("search", Invocation(path, ()), config, ranks=Ranks("cpu")) as run:
        run.begin({"train": torch.arange(4)})
        write_first_files(run, config, data)
        run.save(1, {})


def test_the_run_holds_a_copy_of_the_latency_model(tmp_path: Path) -> None:
    model = tmp_path / "phone.json"
    model.write_text("{}")
    start(tmp_path / "run", model)
    assert (tmp_path / "run" / "limit.device.json").read_text() == "{}"
    assert not (tmp_path / "run" / "front.device.json").exists()
    start(tmp_path / "run", model, resume=True)


def test_another_latency_model_is_refused_on_resume(tmp_path: Path) -> None:
    model = tmp_path / "phone.csv"
    model.write_text("old")
    start(tmp_path / "run", model)
    model.write_text("new")
    with pytest.raises(ConfigError, match=r"the run began with another limit\.device\.csv"):
        start(tmp_path / "run", model, resume=True)
    assert (tmp_path / "run" / "limit.device.csv").read_text() == "old"
