"""Language models through the commands: search, retrain, evaluate, resume, refusals."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from darts.tracking import read_json

QUIET = "tracking.tensorboard=false"
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran", "to", "some", "place")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences in which each word but the first follows from the one before it."""
    draw = random.Random(0)
    folder = tmp_path_factory.mktemp("text")
    for part, lines in (("train", 120), ("valid", 60), ("test", 40)):
        rows = []
        for _ in range(lines):
            start = draw.randrange(len(WORDS))
            rows.append(" ".join(WORDS[(start + i) % len(WORDS)] for i in range(6)))
        (folder / f"{part}.txt").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def given(text: Path) -> list[str]:
    """Overrides of a tiny run."""
    sizes = ("space.embedding=12", "space.hidden=12", "task.window=9", "loader.batch_size=6")
    dropout = [f"space.{part}_dropout=0.1" for part in ("embedding", "input", "hidden", "output")]
    return [
        *("task=language_model", "dataset=text", f"dataset.root={text}", QUIET),
        *(*sizes, *dropout, "optimizer.lr=5.0", "seed=5"),
    ]


@pytest.mark.usefixtures("no_pictures")
def test_search_retrain_and_evaluate(
    commands: Any, given: list[str], tmp_path: Path, text: Path
) -> None:
    folder = tmp_path / "found"
    small = [*given, "space.nodes=3", "epochs=2"]
    found = commands.exactly("search", [*small, f"hydra.run.dir={folder}"], folder)
    printed = commands.printed(found.out, "retrain")
    assert {"task=language_model", "dataset=text", f"dataset.root={text}"} <= set(printed)
    assert set(found.result) >= {"valid_perplexity", "valid_bits", "valid_loss"}
    assert not any("accuracy" in key for row in found.rows for key in row)
    assert read_json(folder / "vocabulary.json")[0] == "<eos>"

    folder = tmp_path / "trained"
    trained = commands.exactly(
        "retrain",
        [*given, f"genotype={found.directory}", "epochs=8", f"hydra.run.dir={folder}"],
        folder,
    )
    assert trained.result["genotype"] == found.result["genotype"]
    # Thirteen words and the end of a line; without learning it would be 14 and more.
    assert 1 < trained.result["test_perplexity"] < 8
    assert (folder / "vocabulary.json").exists()
    scored = commands.run("evaluate", tmp_path / "scored", f"checkpoint={trained.directory}")
    for name in ("perplexity", "bits", "loss"):
        assert scored.result[f"test_{name}"] == trained.result[f"test_{name}"]
    assert scored.result["samples"] == 40 * 7 - 1  # all tokens but the first
    again = commands.run(
        "evaluate", tmp_path / "valid", f"checkpoint={trained.directory}", "split=valid"
    )
    assert again.result["valid_perplexity"] == trained.result["valid_perplexity"]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("command", ["search", "retrain"])
def test_a_crashed_run_goes_on_bit_for_bit(
    commands: Any, given: list[str], tmp_path: Path, command: str
) -> None:
    """The states of both loaders are part of it."""
    more = ["space.nodes=2"] if command == "search" else ["genotype=DARTS_RNN_V1"]
    commands.goes_on(command, [*given, *more, "epochs=2"], tmp_path)


@pytest.mark.parametrize("method", ["darts_v2", "gdas", "drnas", "random_sharing", "darts_pt"])
@pytest.mark.usefixtures("no_pictures")
def test_methods_serve_text_as_they_serve_images(
    commands: Any, given: list[str], tmp_path: Path, method: str
) -> None:
    more = {
        "drnas": ["stages=[]", "relaxation.partial=1", "arch_optimizer.warmup=0"],
        "random_sharing": ["discretize.samples=3"],
        "darts_pt": ["discretize.tune=0", "discretize.batches=1"],
    }.get(method, [])
    small = [*given, f"method={method}", "space.nodes=2", "epochs=1", *more]
    done = commands.exactly("search", [*small, f"hydra.run.dir={tmp_path}"], tmp_path)
    assert done.result["valid_perplexity"] > 1
    assert len(done.json("genotype.json")["recurrent"]) == 2


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("search", ["space=cnn"], "takes images or audio, but dataset=text contains text"),
        ("search", ["dataset=digits"], "learns from text, but dataset=digits contains images"),
        ("search", ["task=classification"], "dataset=text contains text; choose dataset=digits or"),
        ("search", ["metric=accuracy"], "metric='accuracy' is unknown; choose from perplexity"),
        ("search", ["loader.batch_size=400"], "too few for windows of 9; choose a smaller"),
        ("search", ["dataset.subset=999999"], "more than the 840 training tokens of text"),
        ("search", ["dataset.level=syllable"], "dataset.level='syllable' is unknown"),
        ("search", ["method=pc_darts"], "space=recurrent has no partial channels"),
        ("search", ["discretize.skip_limit=2"], "space=recurrent has no skip connections"),
        ("search", ["stages=[{skip_dropout: 0.1}]"], "could be dropped; set skip_dropout=0"),
        ("retrain", ["genotype=DARTS_V2"], "is of the space cnn, not of recurrent"),
        ("retrain", ["genotype=DARTS_RNN_V2", "auxiliary=0.4"], "no auxiliary head"),
        ("retrain", ["genotype=DARTS_RNN_V2", "drop_path=0.1"], "set drop_path=0"),
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
    if "dataset" in keys:
        kept = [word for word in kept if not word.startswith("dataset.")]
    if keys & {"space", "task"}:
        kept = [word for word in kept if not word.startswith(("space.", "task."))]
    line = commands.refused(command, *kept, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line
