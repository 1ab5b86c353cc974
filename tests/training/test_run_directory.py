"""A run directory holds one run, and only an equal configuration may resume it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from darts.config import ConfigError, SearchConfig, compose, rebuild
from darts.training.run_directory import RunDirectory

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
