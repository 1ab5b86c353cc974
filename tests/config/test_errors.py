"""Errors of the user end in one line that names key, value and choices, before data is read."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from darts.config import launch
from darts.data_modules import data_module
from darts.plugins import group_options
from darts.training.checkpoint import save_checkpoint

DATASETS = group_options("dataset")
SEARCH = "search"
RETRAIN = "retrain"
V2 = "genotype=DARTS_V2"

# Command, arguments, what the line must contain.
ERRORS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    # Keys.
    (SEARCH, ("epoch=3",), ("'epoch'", "did you mean 'epochs'", "arch_optimizer", "seed")),
    (SEARCH, ("optimizer.lrr=1",), ("'optimizer.lrr'", "optimizer.lr,", "optimizer.momentum")),
    (SEARCH, ("optimizer.learning_rate=0.1",), ("did you mean 'optimizer.lr'",)),
    (SEARCH, ("batch=32",), ("did you mean 'loader.batch_size'",)),
    (SEARCH, ("bilevel.hvp=exact",), ("'bilevel.hvp'", "bilevel.name")),
    (SEARCH, ("discretize=sampling", "discretize.skip_limit=1"), ("skip_limit'", "chosen")),
    (RETRAIN, (V2, "method=darts_v2"), ("'method'", "genotype", "epochs")),
    # Names of options.
    (SEARCH, ("dataset=cifar",), ("dataset='cifar'", *DATASETS, "did you mean 'cifar10'")),
    (SEARCH, ("method=null",), ("method=null", "darts_v1", "darts_v2")),
    # The name of a component does not choose it.
    (
        SEARCH,
        ("space.name=foo",),
        ("space.name='foo'", "no effect", "cnn, elastic, macro, mlp, module"),
    ),
    (SEARCH, ("metric=acuracy",), ("metric='acuracy'", "did you mean 'accuracy'?")),
    (SEARCH, ("epochs=null",), ("epochs=null: must have a value",)),
    (SEARCH, ("++epochs=1.5",), ("epochs=1.5: must be an integer",)),
    (SEARCH, ("++sync_batchnorm=maybe",), ("sync_batchnorm=maybe: must be true or false",)),
    (SEARCH, ("metric=foo",), ("metric='foo'", "accuracy", "macro_f1", "loss")),
    (SEARCH, ("device=foo",), ("device='foo'", "auto, cpu, cuda, cuda:N, mps")),
    # Types.
    (SEARCH, ("epochs=many",), ("epochs=many: must be an integer",)),
    ("genotypes", ("compare=DARTS_V2",), ("compare: must be a list", "compare=[A,B]")),
    # Ranges.
    (SEARCH, ("epochs=0",), ("epochs=0", ">= 1")),
    (SEARCH, ("train_portion=1.1",), ("train_portion=1.1", "> 0", "<= 1")),
    (SEARCH, ("optimizer.lr=nan",), ("optimizer.lr=nan", "finite and > 0")),
    (
        RETRAIN,
        (V2, "averaging_patience=2", "validation=0", "selection=last"),
        ("averaging_patience=2 needs",),
    ),
    (
        RETRAIN,
        (V2, "average_power=2", "averaging_patience=5"),
        ("averaging_patience=5 and average_power=2 are mutually exclusive; keep one",),
    ),
    (RETRAIN, (V2, "max_seconds=60"), ("max_seconds=60", "optimizer.schedule=stable")),
    (RETRAIN, (V2, "dataset=fsdd", "mirror=true"), ("mirror=true", "dataset=fsdd", "no images")),
    (RETRAIN, (V2, "start=nowhere"), ("start='nowhere'", "neither a checkpoint file")),
    (RETRAIN, (V2, "start_epoch=best"), ("start_epoch=best needs start=DIR",)),
    # Combinations.
    (SEARCH, ("optimizer.schedule=stable",), ("optimizer.schedule=stable", "cosine, linear")),
    (SEARCH, ("stages=[{shape: 1}]",), ("shape",)),
    (SEARCH, ("dataset=fsdd", "cutout=4"), ("cutout=4 erases", "dataset=fsdd", "set cutout=0")),
    (RETRAIN, (V2, "space=nas201"), ("'DARTS_V2'", "space=cnn", "space=nas201")),
    (SEARCH, ("arch_optimizer.betas=[0.5]",), ("arch_optimizer.betas=[0.5]", "2 numbers")),
    (RETRAIN, (V2, "validation=0"), ("selection=best", "validation=0", "selection=last")),
    ("genotypes", ("compare=[DARTS_V2]",), ("['DARTS_V2']", "compare=[A,B]")),
    ("genotypes", ("draw=DARTS_V2", "out=x.gif"), ("'x.gif'", ".svg, .png, .pdf")),
    ("genotypes", ("out=x.svg",), ("out", "draw or compare")),
    ("genotypes", ("draw=SGAS", "validate=SGAS"), ("draw and validate", "use one")),
    # Genotypes and checkpoints.
    (RETRAIN, (), ("genotype must be given",)),
    (RETRAIN, ("genotype=''",), ("genotype is empty",)),
    (RETRAIN, ("genotype=runs/search/x",), ("runs/search/x", "darts genotypes")),
    (RETRAIN, ("genotype=.",), ("genotype='.'", "genotype.json")),
    ("evaluate", (), ("checkpoint must be given",)),
    ("export", ("checkpoint=nowhere.pt",), ("checkpoint='nowhere.pt'", "directory of a run")),
    ("compare", ("baselines=[luck]",), ("'luck'", "random, random_search", "random_sharing")),
    ("compare", ("baselines=[]",), ("baselines=[]", "one or more of random")),
    ("compare", ("baselines=[random,random]",), ("each at most once",)),
    ("compare", ("search.epoch=3",), ("'epoch'", "did you mean 'epochs'")),
    ("compare", ("retrain.evaluate_test=false",), ("retrain.evaluate_test", "on the test split")),
    ("compare", ("settings.random.epochs=3",), ("settings.random ", "random_search", "darts_v1")),
    # Run directories that cannot be resumed.
    (SEARCH, ("name=a/../../../x",), ("name='a/../../../x'", "a folder gets this name")),
    (SEARCH, (f"name={'x' * 300}",), ("name='xxx", "at most 200 bytes")),
    (SEARCH, ("resume=nowhere",), ("resume='nowhere'", "overrides.json")),
    # Overrides with syntax errors.
    (SEARCH, ("epochs",), ("'epochs'", "key=value", "epochs=VALUE")),
    (SEARCH, ("=3",), ("'=3'",)),
    (SEARCH, ("epochs=${nothing}",), ("nothing",)),
)


@pytest.fixture
def refused(cwd: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call a command in an empty folder, require exit code 2, and return the line it prints."""

    def call(command: str, *arguments: str) -> str:
        before = sorted(cwd.rglob("*"))
        module = importlib.import_module(f"darts.{command}")
        with pytest.raises(SystemExit, match=r"^2$"):
            launch(command, module.check, getattr(module, command), arguments)
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.endswith("\n")
        assert len(printed.err.splitlines()) == 1, printed.err
        assert "Traceback" not in printed.err
        assert printed.err.startswith(f"darts {command}: ")
        assert sorted(cwd.rglob("*")) == before, "the command left files"
        return printed.err

    return call


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a data set is read."""
    monkeypatch.setattr(data_module, "load", Mock(side_effect=AssertionError("data was read")))


FREQUENT = {"start=nowhere", "optimizer.learning_rate=0.1", "dataset=cifar"}


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(
    ("command", "arguments", "named"),
    [
        pytest.param(
            *case,
            id=f"{case[0]} {' '.join(case[1])}",
            marks=[] if index % 3 == 0 or FREQUENT & {*case[1]} else pytest.mark.slow,
        )
        for index, case in enumerate(ERRORS)
    ],
)
def test_error_is_one_line(
    refused: Any, command: str, arguments: tuple[str, ...], named: tuple[str, ...]
) -> None:
    line = refused(command, *arguments)
    for words in named:
        assert words in line


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(
    ("content", "named"), [("{broken", "JSON"), ("", "empty"), ("\x00\xff", "genotype")]
)
def test_a_wrong_genotype_is_named(refused: Any, tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "g.json").write_text(content, encoding="latin-1")
    line = refused("retrain", "genotype=g.json")
    assert "'g.json'" in line
    assert named in line


@pytest.mark.usefixtures("no_data")
def test_checkpoint_of_another_version_names_the_unknown_key(refused: Any, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    save_checkpoint(file, "retrain", {"best": {}, "config": {"epochz": 3}})
    assert "epochz" in refused("evaluate", f"checkpoint={file}")


@pytest.mark.parametrize(
    ("command", "arguments", "named"),
    [
        ("search", ("dataset.subset=65",), ("dataset.subset=65", "64")),
        ("search", ("train_portion=0.01",), ("train_portion=0.01", "64 training samples")),
        ("search", ("dataset.crop=resized",), ("resized", "disk")),
        ("search", ("dataset.storage=disk",), ("disk", "synthetic")),
        ("search", ("dataset.classes=4", "metric=top5_accuracy"), ("top5_accuracy", "macro_f1")),
    ],
)
def test_errors_that_depend_on_the_data(
    refused: Any, command: str, arguments: tuple[str, ...], named: tuple[str, ...]
) -> None:
    line = refused(command, "dataset=synthetic", "dataset.samples=64", *arguments)
    for words in named:
        assert words in line


def test_run_directory_that_cannot_be_written(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refused("search", "dataset=synthetic", "hydra.run.dir=file/run")
    assert "file/run" in line


@pytest.mark.usefixtures("no_data")
def test_empty_folder_of_the_user_is_not_removed(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    refused("search", "precision=fp16", "device=cpu", "hydra.run.dir=mine")
    assert (tmp_path / "mine").is_dir()
