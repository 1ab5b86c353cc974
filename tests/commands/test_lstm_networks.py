"""LSTMs of the transformer space in the commands that use a genotype."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from darts.reading import read_json

GENOTYPE = '{"space": "transformer", "blocks": [["lstm", "identity"], ["lstm", "gelu_1"]]}'


@pytest.fixture
def base_overrides(tmp_path: Path) -> list[str]:
    """Overrides of a tiny language model of characters."""
    draw = random.Random(0)
    folder = tmp_path / "text"
    folder.mkdir()
    for split, count in (("train", 400), ("valid", 200), ("test", 100)):
        words = draw.choices(("ab", "cde", "fa"), k=count)
        (folder / f"{split}.txt").write_text(" ".join(words))
    (tmp_path / "genotype.json").write_text(GENOTYPE)
    return [
        "task=language_model",
        "dataset=text",
        f"dataset.root={folder}",
        "dataset.level=char",
        "space=transformer",
        f"genotype={tmp_path / 'genotype.json'}",
        "tracking.tensorboard=false",
        "space.hidden=8",
        "space.dropout=0.1",
        "task.window=12",
        "loader.batch_size=5",
        "optimizer.lr=0.01",
        "epochs=2",
        "seed=3",
    ]


@pytest.mark.usefixtures("no_figures")
def test_a_trained_network_is_evaluated_with_equal_scores(
    commands: Any, base_overrides: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run = commands.call("retrain", [*base_overrides, f"hydra.run.dir={folder}"], folder)
    assert run.result["test_perplexity"] < 8  # there are 7 characters
    state = run.checkpoint["train_loader"]
    assert state["after"].shape == (5, 2 * 2 * 8)
    arguments = (f"checkpoint={folder}", "importance=true")
    evaluation = commands.run("evaluate", tmp_path / "evaluation", *arguments)
    assert evaluation.result["test_perplexity"] == run.result["test_perplexity"]
    drops = read_json(tmp_path / "evaluation" / "importance.json")["operations"]
    assert set(drops) == {"identity", "gelu_1"}  # an LSTM cannot be left out
    assert drops["identity"] == 0.0


@pytest.mark.usefixtures("no_figures")
def test_a_resumed_run_ends_like_an_unbroken_one(
    commands: Any, base_overrides: list[str], tmp_path: Path
) -> None:
    commands.assert_resume_is_exact("retrain", base_overrides, tmp_path)
