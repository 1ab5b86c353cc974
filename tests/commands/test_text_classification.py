"""The transformer space through the commands: classifiers of texts, and language models."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from darts.tracking import read_json

QUIET = "tracking.tensorboard=false"
SIZE = ("space.hidden=16", "space.cells=1", "space.dropout=0.1")
CLASSES = {"cold": ("ice", "snow", "frost"), "hot": ("fire", "sun", "flame")}
OTHERS = ("the", "a", "of", "and", "with", "in")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts whose class is told by one word among others."""
    draw = random.Random(0)
    folder = tmp_path_factory.mktemp("texts")
    for part, count in (("train", 240), ("test", 60)):
        rows = ["label,text"]
        for i in range(count):
            label = ("cold", "hot")[i % 2]
            words = draw.choices(OTHERS, k=draw.randrange(3, 9))
            words[draw.randrange(len(words))] = draw.choice(CLASSES[label])
            rows.append(f"{label},{' '.join(words)}")
        (folder / f"{part}.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def given(texts: Path) -> list[str]:
    """Overrides of a tiny run."""
    return [
        *("task=text_classification", "dataset=documents", f"dataset.root={texts}", QUIET),
        *("space.hidden=16", "space.dropout=0.1", "loader.batch_size=16", "seed=3"),
    ]


@pytest.mark.usefixtures("no_pictures")
def test_search_retrain_and_evaluate(commands: Any, given: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "found"
    small = [*given, *SIZE, "epochs=2", f"hydra.run.dir={folder}"]
    found = commands.exactly("search", small, folder)
    printed = commands.printed(found.out, "retrain")
    assert {"task=text_classification", "dataset=documents"} <= set(printed)
    assert set(found.result) >= {"valid_macro_f1", "valid_accuracy", "valid_loss"}
    assert "ice" in read_json(folder / "vocabulary.json")

    folder = tmp_path / "trained"
    more = [f"genotype={found.directory}", "epochs=8", "optimizer.lr=0.01"]
    trained = commands.exactly("retrain", [*given, *more, f"hydra.run.dir={folder}"], folder)
    assert trained.result["genotype"] == found.result["genotype"]
    assert trained.result["test_macro_f1"] > 0.9
    scored = commands.run("evaluate", tmp_path / "scored", f"checkpoint={trained.directory}")
    for name in ("macro_f1", "accuracy", "loss"):
        assert scored.result[f"test_{name}"] == trained.result[f"test_{name}"]
    assert scored.result["samples"] == 60


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("command", ["search", pytest.param("retrain", marks=pytest.mark.slow)])
def test_a_crashed_run_goes_on_bit_for_bit(
    commands: Any, given: list[str], tmp_path: Path, command: str
) -> None:
    genotype = '{"space": "transformer", "blocks": [["attention_2", "gelu_2"]]}'
    (tmp_path / "genotype.json").write_text(genotype)
    more = [*SIZE] if command == "search" else [f"genotype={tmp_path / 'genotype.json'}"]
    commands.goes_on(command, [*given, *more, "epochs=2"], tmp_path)


@pytest.mark.parametrize("method", ["darts_v2", "gdas", "random_sharing", "darts_pt"])
@pytest.mark.usefixtures("no_pictures")
def test_methods_serve_texts_too(
    commands: Any, given: list[str], tmp_path: Path, method: str
) -> None:
    more = {
        "darts_v2": ["optimizer.algorithm=sgd"],
        "random_sharing": ["discretize.samples=3"],
        "darts_pt": ["discretize.tune=0", "discretize.batches=1"],
    }.get(method, [])
    small = [*given, *SIZE, f"method={method}", "epochs=1", "penalty.parameters=20000", *more]
    done = commands.exactly("search", [*small, f"hydra.run.dir={tmp_path}"], tmp_path)
    assert 0 <= done.result["valid_macro_f1"] <= 1
    assert len(done.json("genotype.json")["blocks"]) == 1


@pytest.mark.usefixtures("no_pictures")
def test_headlines_of_the_news_have_classes(commands: Any, tmp_path: Path) -> None:
    rows = [
        f'"{i % 4 + 1}","Title {i}","Some words about {("war", "sport", "money", "code")[i % 4]}"'
        for i in range(80)
    ]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    start = ["task=text_classification", "dataset=agnews", f"dataset.root={tmp_path}", QUIET]
    size = [*SIZE, "epochs=1", "loader.batch_size=8", f"hydra.run.dir={tmp_path / 'run'}"]
    done = commands.exactly("search", [*start, *size], tmp_path / "run")
    assert 0 <= done.result["valid_macro_f1"] <= 1


@pytest.mark.usefixtures("no_pictures")
def test_a_transformer_is_a_language_model_too(commands: Any, tmp_path: Path) -> None:
    draw = random.Random(0)
    for part, lines in (("train", 120), ("valid", 60), ("test", 40)):
        starts = [draw.randrange(6) for _ in range(lines)]
        rows = [" ".join(OTHERS[(start + i) % 6] for i in range(6)) for start in starts]
        (tmp_path / f"{part}.txt").write_text("\n".join(rows) + "\n")
    start = [
        *("task=language_model", "dataset=text", f"dataset.root={tmp_path}", "space=transformer"),
        *(QUIET, "space.hidden=16", "task.window=9", "loader.batch_size=6", "epochs=2"),
    ]
    folder = tmp_path / "found"
    found = commands.exactly("search", [*start, "space.cells=1", f"hydra.run.dir={folder}"], folder)
    assert found.result["valid_perplexity"] > 1
    folder = tmp_path / "trained"
    more = [f"genotype={found.directory}", "optimizer.lr=0.01", f"hydra.run.dir={folder}"]
    trained = commands.exactly("retrain", [*start, *more], folder)
    # Six words and the end of a line; without learning it would be 7 and more.
    assert 1 < trained.result["test_perplexity"] < 4


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("search", ["space=cnn"], "space=cnn takes images or audio, but dataset=documents contains"),
        ("search", ["metric=bleu"], "metric='bleu' is unknown; choose from accuracy"),
        ("search", ["dataset.subset=500"], "dataset.subset=500 is more than the 240 training"),
        ("search", ["method=pc_darts"], "space=transformer has no partial channels"),
        ("search", ["space.hidden=12"], "multiple of 8"),
        ("retrain", ["genotype=DARTS_V2"], "is of the space cnn, not of transformer"),
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
    if "space" in keys:
        kept = [word for word in kept if not word.startswith("space.")]
    line = commands.refused(command, *kept, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line
