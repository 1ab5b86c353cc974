"""Overrides: the word ``latest``, and keyword arguments of the Python functions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darts.config import ConfigError, compose
from darts.config.overrides import hydra_overrides
from darts.config.python_call import overrides_of, run_directory

pytestmark = pytest.mark.usefixtures("cwd")


def make_run(place: str, age: int, *files: str) -> str:
    folder = Path("runs") / place
    folder.mkdir(parents=True)
    for name in ("config.yaml", *files):
        (folder / name).touch()
    os.utime(folder / "config.yaml", (10_000 - age, 10_000 - age))
    return str(folder)


def test_it_is_the_newest_run_that_the_key_can_use() -> None:
    make_run("search/a", 90, "genotype.json", "summary.json")
    make_run("search/digits-drnas/b", 50, "genotype.json", "summary.json")
    make_run("search/c", 30)  # killed
    make_run("find/d", 70, "genotype.json", "checkpoint.safetensors", "summary.json")
    make_run("retrain/e", 60, "checkpoint.safetensors", "summary.json")
    make_run("retrain/f", 10)
    make_run("compare/h", 5, "summary.json")  # which reports do not show
    make_run(
        "find/digits/g/runs/net", 1, "genotype.json", "checkpoint.safetensors"
    )  # a training of a run
    expected = {
        ("retrain", "genotype=latest"): "genotype='runs/search/digits-drnas/b'",
        ("evaluate", "checkpoint=latest"): "checkpoint='runs/retrain/e'",
        ("search", "resume=latest"): "resume='runs/search/c'",
        ("retrain", "resume=latest"): "resume='runs/retrain/f'",
        ("report", "latest"): "runs=['runs/retrain/f']",
        ("search", "name=latest"): "name=latest",
    }
    for (command, argument), override in expected.items():
        assert hydra_overrides(command, [argument]) == [override]


def test_a_find_can_be_the_latest_of_both_kinds() -> None:
    make_run("search/a", 90, "genotype.json")
    make_run("find/it's", 20, "genotype.json", "checkpoint.safetensors")
    assert hydra_overrides("retrain", ["genotype=latest"]) == [r"genotype='runs/find/it\'s'"]
    assert hydra_overrides("export", ["checkpoint=latest"]) == [r"checkpoint='runs/find/it\'s'"]


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("retrain", "genotype=latest", "genotype=latest: there is no such run in runs/search or"),
        ("tune", "resume=latest", "resume=latest: there is no such run in runs/tune"),
        ("report", "latest", "runs=latest: there is no such run in runs/search or runs/find or"),
    ],
)
def test_without_such_a_run_one_line_says_so(command: str, argument: str, message: str) -> None:
    make_run("search/a", 1)
    Path("runs/search/a/config.yaml").unlink()
    with pytest.raises(ConfigError, match=message):
        hydra_overrides(command, [argument])


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
