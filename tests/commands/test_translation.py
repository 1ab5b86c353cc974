"""Translations through the commands: search, retrain, evaluate, resume, refusals."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from darts.tracking import read_json

QUIET = "tracking.tensorboard=false"
PICTURES = "tracking.figures=false"
NUMBERS = {"ein": "one", "zwei": "two", "drei": "three", "vier": "four", "fünf": "five"}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of numbers in two languages."""
    draw = random.Random(0)
    folder = tmp_path_factory.mktemp("numbers")
    for part, count in (("train", 160), ("valid", 20), ("test", 20)):
        rows = [draw.choices(list(NUMBERS), k=draw.randrange(1, 5)) for _ in range(count)]
        (folder / f"{part}.de").write_text("".join(" ".join(row) + "\n" for row in rows))
        said = [" ".join(NUMBERS[word] for word in row) for row in rows]
        (folder / f"{part}.en").write_text("".join(line + "\n" for line in said))
    return folder


@pytest.fixture
def given(text: Path) -> list[str]:
    """Overrides of a tiny run."""
    dropout = [f"space.{part}_dropout=0.05" for part in ("embedding", "hidden", "output")]
    return [
        *("task=translation", "dataset=pairs", f"dataset.root={text}", QUIET, PICTURES),
        *("dataset.source=de", "dataset.target=en", "dataset.subset=160", "task.max_length=8"),
        *("space.embedding=24", "space.hidden=24", "loader.batch_size=16", "seed=5", *dropout),
    ]


def test_search_retrain_and_evaluate(commands: Any, given: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "found"
    small = [*given, "space.nodes=2", "epochs=2", f"hydra.run.dir={folder}"]
    found = commands.exactly("search", small, folder)
    assert set(found.result) >= {"valid_bleu", "valid_loss", "valid_perplexity"}
    printed = commands.printed(found.out, "retrain")
    assert {"task=translation", "dataset=pairs", "dataset.source=de"} <= set(printed)
    words = read_json(folder / "vocabulary.json")
    assert set(NUMBERS.values()) <= set(words["target"])

    folder = tmp_path / "trained"
    more = [f"genotype={found.directory}", "epochs=25", "optimizer.lr=0.02", "task.beam=2"]
    trained = commands.exactly("retrain", [*given, *more, f"hydra.run.dir={folder}"], folder)
    assert trained.result["genotype"] == found.result["genotype"]
    # The rows are short, and BLEU wants four words in a row: it is the loss that tells.
    assert trained.result["test_perplexity"] < 2.5
    table = (folder / "samples_test.md").read_text()
    assert table.startswith("| reference | generated |")
    assert any(line.split("|")[1] == line.split("|")[2] for line in table.splitlines()[2:])
    scored = commands.run("evaluate", tmp_path / "scored", f"checkpoint={trained.directory}")
    assert (tmp_path / "scored" / "samples_test.md").read_text() == table
    for name in ("bleu", "loss", "perplexity"):
        assert scored.result[f"test_{name}"] == trained.result[f"test_{name}"]


@pytest.mark.parametrize("command", ["search", "retrain"])
def test_a_crashed_run_goes_on_bit_for_bit(
    commands: Any, given: list[str], tmp_path: Path, command: str
) -> None:
    more = ["space.nodes=2"] if command == "search" else ["genotype=DARTS_RNN_V1"]
    commands.goes_on(command, [*given, *more, "epochs=2", "dataset.subset=96"], tmp_path)


@pytest.mark.parametrize("method", ["darts_v2", "gdas", "random_sharing"])
def test_methods_serve_sentences_too(
    commands: Any, given: list[str], tmp_path: Path, method: str
) -> None:
    more = ["discretize.samples=2"] if method == "random_sharing" else []
    more += ["optimizer.algorithm=sgd", "optimizer.lr=0.5"] if method == "darts_v2" else []
    small = [*given, f"method={method}", "space.nodes=2", "epochs=1", "dataset.subset=64", *more]
    done = commands.exactly("search", [*small, f"hydra.run.dir={tmp_path}"], tmp_path)
    assert done.result["valid_loss"] > 0


def test_headlines_are_judged_by_rouge(commands: Any, tmp_path: Path) -> None:
    rows = [f'"{n % 4 + 1}","one {n % 5} two","a text of {n % 5} words"' for n in range(80)]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    given = ["task=summarization", f"dataset.root={tmp_path}", QUIET, PICTURES, "epochs=1"]
    small = ["space.embedding=8", "space.hidden=8", "space.nodes=2", "dataset.subset=null"]
    size = ["loader.batch_size=8", "task.max_length=5", f"hydra.run.dir={tmp_path / 'run'}"]
    done = commands.exactly("search", [*given, *small, *size], tmp_path / "run")
    assert {"valid_rouge1", "valid_rouge2", "valid_rougeL"} <= set(done.result)
    words = read_json(tmp_path / "run" / "vocabulary.json")
    assert words["source"] == words["target"]
    assert not any("bleu" in name for name in done.result)


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("search", ["dataset.subset=999"], "more than the 160 training pairs of pairs"),
        ("search", ["train_portion=0.001"], "leaves a subset empty; use more pairs"),
        ("search", ["metric=rouge1"], "metric='rouge1' is unknown; choose from bleu"),
        ("search", ["bilevel=unrolled"], "mirrors a step of SGD, and optimizer.algorithm=adam; choose"),
        ("search", ["penalty.parameters=100"], "leave penalty out"),
        ("search", ["optimizer.algorithm=lion"], "optimizer.algorithm='lion' is unknown"),
        ("search", ["space.copy=true"], "must have one vocabulary; set dataset.joint=true"),
        ("search", ["dataset.target=fr"], "train.fr, valid.fr, test.fr not in"),
        ("retrain", ["genotype=DARTS_RNN_V2", "auxiliary=0.4"], "no auxiliary head"),
        ("retrain", ["genotype=DARTS_RNN_V2", "cutout=4"], "cutout=4 erases a square of an image"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    commands: Any,
    given: list[str],
    tmp_path: Path,
    command: str,
    overrides: list[str],
    message: str,
) -> None:
    keys = {override.partition("=")[0] for override in overrides}
    kept = [word for word in given if word.partition("=")[0] not in keys]
    line = commands.refused(command, *kept, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line
