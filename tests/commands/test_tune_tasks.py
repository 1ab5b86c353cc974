"""Studies of text tasks: metric, architecture and hyperparameters of each task."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from darts.spaces import parse_genotype, space_of

WORDS = ("one", "two", "three", "four", "five", "six")


def random_sentences(draw: random.Random, count: int) -> list[list[str]]:
    return [draw.choices(WORDS, k=draw.randrange(2, 7)) for _ in range(count)]


def write_language_modeling(folder: Path, draw: random.Random) -> list[str]:
    for split in ("train", "valid", "test"):
        lines = [" ".join(words) for words in random_sentences(draw, 80)]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return ["task=language_model", "dataset=text", "task.window=6", "loader.batch_size=4"]


def write_translation(folder: Path, draw: random.Random) -> list[str]:
    for split in ("train", "valid", "test"):
        rows = random_sentences(draw, 40)
        for language, prefix in (("a", ""), ("b", "x")):
            lines = [" ".join(f"{prefix}{word}" for word in words) for words in rows]
            (folder / f"{split}.{language}").write_text("\n".join(lines) + "\n")
    own = ["dataset.source=a", "dataset.target=b", "task.max_length=8", "task.beam=1"]
    return ["task=translation", "dataset=pairs", *own, "loader.batch_size=8"]


def write_text_classification(folder: Path, draw: random.Random) -> list[str]:
    for split in ("train", "test"):
        rows = [
            f"{'odd' if len(words) % 2 else 'even'},{' '.join(words)}"
            for words in random_sentences(draw, 60)
        ]
        (folder / f"{split}.csv").write_text("label,text\n" + "\n".join(rows) + "\n")
    return ["task=text_classification", "dataset=documents", "loader.batch_size=8"]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("write_data", "metric", "space", "size"),
    [
        pytest.param(
            write_language_modeling, "perplexity", "recurrent", "nodes: 2", marks=pytest.mark.slow
        ),
        pytest.param(
            write_language_modeling, "perplexity", "transformer", "cells: 1", marks=pytest.mark.slow
        ),
        (write_translation, "bleu", "recurrent", "nodes: 2"),
        pytest.param(
            write_text_classification, "macro_f1", "transformer", "cells: 1", marks=pytest.mark.slow
        ),
    ],
)
def test_each_task_is_tuned_by_its_metric(
    commands: Any, tmp_path: Path, write_data: Any, metric: str, space: str, size: str
) -> None:
    base = [*write_data(tmp_path, random.Random(0)), f"space={space}", f"dataset.root={tmp_path}"]
    widths = ("embedding", "hidden") if space == "recurrent" else ("hidden",)
    done = commands.run(
        "tune",
        tmp_path / "run",
        *base,
        *(f"space.{width}=8" for width in widths),
        "epochs=1",
        f"metric={metric}",
        f"parameters.genotype={{space: {space}, {size}}}",
        "parameters.optimizer.lr={low: 0.001, high: 0.01, log: true}",
        "budget.trials=2",
        "strategy=random",
        "workers=0",
        "analysis.factorial_seeds=0",
        "tracking.tensorboard=false",
    )
    assert (done.result["metric"], done.result["complete"]) == (metric, 2)
    assert done.result[f"valid_{metric}"] >= 0
    assert done.result[f"test_{metric}"] >= 0
    assert space_of(parse_genotype(done.result["genotype"])).name == space
