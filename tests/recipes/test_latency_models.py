"""A search is not resumed with another latency model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import pytest
import torch

from darts.config import ConfigError, Invocation, SearchConfig, compose
from darts.recipes.search_callbacks import keep_latency_models
from darts.training.distributed import Ranks
from darts.training.run import TrainingRun

WORDS = ("dataset=synthetic", "dataset.samples=64", "space=nas201", "tracking.tensorboard=false")


def start(path: Path, *words: str, resume: bool = False, save: bool = True) -> None:
    """Begin or resume a search, and write a checkpoint."""
    config = cast("SearchConfig", compose("search", [*WORDS, *words]))
    config = dataclasses.replace(config, resume=str(path) if resume else None)
    with TrainingRun("search", Invocation(path, ()), config, ranks=Ranks("cpu")) as run:
        run.begin({"train": torch.arange(4)}, keep_latency_models(run, config))
        if save:
            run.save(1, {})


def models(folder: Path) -> list[str]:
    """Write a fitted model and a lookup table; return the words that select them."""
    (folder / "phone.json").write_text("{}")
    (folder / "phone.csv").write_text("row")
    (folder / "phone.yaml").write_text("classes: 10")
    limit = ["limit.latency_ms=3", f"limit.device={folder / 'phone.json'}"]
    return [*limit, "front.cost=latency_ms", f"front.device={folder / 'phone.csv'}"]


@pytest.mark.parametrize(
    ("changed", "key"),
    [("phone.json", "limit"), ("phone.csv", "front"), ("phone.yaml", "front"), (None, None)],
)
def test_a_changed_model_is_refused_on_resume(
    tmp_path: Path, changed: str | None, key: str | None
) -> None:
    words = models(tmp_path)
    start(tmp_path / "run", *words)
    if changed is None:
        start(tmp_path / "run", *words, resume=True)
        return
    (tmp_path / changed).write_text("other")
    with pytest.raises(ConfigError, match=rf"the file of {key}\.device=\S+ has changed since"):
        start(tmp_path / "run", *words, resume=True)


def test_another_file_of_the_same_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name stands for a fitted model or, if there is none, for a lookup table."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "devices"
    folder.mkdir()
    models(folder)
    (folder / "phone.json").unlink()
    words = ["limit.latency_ms=3", "limit.device=phone"]
    start(tmp_path / "run", *words)
    models(folder)
    with pytest.raises(ConfigError, match=r"limit\.device=phone has changed since the run began"):
        start(tmp_path / "run", *words, resume=True)


def test_a_run_without_a_checkpoint_begins_again_with_the_new_model(tmp_path: Path) -> None:
    words = models(tmp_path)
    start(tmp_path / "run", *words, save=False)
    (tmp_path / "phone.json").write_text("other")
    start(tmp_path / "run", *words, resume=True)
    start(tmp_path / "run", *words, resume=True)
