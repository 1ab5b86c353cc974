"""Keyword arguments of the Python functions as overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from darts.config import compose
from darts.config.python_call import overrides_of, run_directory


def test_values_are_those_that_the_configuration_gets() -> None:
    settings = {
        "epochs": 3,
        "dataset": "synthetic",
        "optimizer.lr": 1e-05,
        "dataset.verify": False,
        "resume": None,
        "name": "it's a ${name}, really=1",
        "arch_optimizer.betas": (0.5, 0.75),
        "dataset.root": Path("/a folder/with=signs"),
    }
    config = compose("search", overrides_of(settings, ["space.channels=5"]))
    assert (config.epochs, config.dataset.name, config.optimizer.lr) == (3, "synthetic", 1e-5)
    assert (config.dataset.verify, config.resume, config.space.channels) == (False, None, 5)
    assert config.name == settings["name"]
    assert config.arch_optimizer.betas == [0.5, 0.75]
    assert config.dataset.root == "/a folder/with=signs"


def test_directories_of_runs_do_not_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "now")
    assert run_directory("search", "here") == tmp_path / "here"
    for name in ("now", "now_2", "now_3"):
        directory = run_directory("search", None)
        assert directory == tmp_path / "runs/search" / name
        directory.mkdir(parents=True)
