"""Text classification and language models of the transformer space in every command."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from darts.reading import read_json

NO_TENSORBOARD = "tracking.tensorboard=false"
SIZE = ("space.hidden=16", "space.cells=1", "space.dropout=0.1")
CLASSES = {"cold": ("ice", "snow", "frost"), "hot": ("fire", "sun", "flame")}
NEUTRAL = ("the", "a", "of", "and", "with", "in")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of texts of neutral words and one word that determines the class."""
    draw = random.Random(0)
    folder = tmp_path_factory.mktemp("texts")
    for split, count in (("train", 240), ("test", 60)):
        rows = ["label,text"]
        for i in range(count):
            label = ("cold", "hot")[i % 2]
            words = draw.choices(NEUTRAL, k=draw.randrange(3, 9))
            words[draw.randrange(len(words))] = draw.choice(CLASSES[label])
            rows.append(f"{label},{' '.join(words)}")
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def base_overrides(texts: Path) -> list[str]:
    """Overrides of a tiny run."""
    return [
        "task=text_classification",
        "dataset=documents",
        f"dataset.root={texts}",
        NO_TENSORBOARD,
        "space.hidden=16",
        "space.dropout=0.1",
        "loader.batch_size=16",
        "seed=3",
    ]


@pytest.mark.usefixtures("no_figures")
def test_a_searched_classifier_learns_and_is_evaluated_with_equal_scores(
    commands: Any, base_overrides: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "search"
    small = [*base_overrides, *SIZE, "epochs=2", f"hydra.run.dir={folder}"]
    search_result = commands.call("search", small, folder)
    printed_arguments = commands.printed_arguments(search_result.out, "retrain")
    assert {"task=text_classification", "dataset=documents"} <= set(printed_arguments)
    assert set(search_result.result) >= {"valid_macro_f1", "valid_accuracy", "valid_loss"}
    assert "ice" in read_json(folder / "vocabulary.json")

    folder = tmp_path / "retrain"
    more = [f"genotype={search_result.directory}", "epochs=8", "optimizer.lr=0.01"]
    retrain_result = commands.call(
        "retrain", [*base_overrides, *more, f"hydra.run.dir={folder}"], folder
    )
    assert retrain_result.result["genotype"] == search_result.result["genotype"]
    assert retrain_result.result["test_macro_f1"] > 0.9
    evaluation = commands.run(
        "evaluate", tmp_path / "evaluate", f"checkpoint={retrain_result.directory}"
    )
    for name in ("macro_f1", "accuracy", "loss"):
        assert evaluation.result[f"test_{name}"] == retrain_result.result[f"test_{name}"]
    assert evaluation.result["samples"] == 60


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("command", ["search", pytest.param("retrain", marks=pytest.mark.slow)])
def test_a_resumed_run_ends_like_an_unbroken_one(
    commands: Any, base_overrides: list[str], tmp_path: Path, command: str
) -> None:
    genotype = '{"space": "transformer", "blocks": [["attention_2", "gelu_2"]]}'
    (tmp_path / "genotype.json").write_text(genotype)
    more = [*SIZE] if command == "search" else [f"genotype={tmp_path / 'genotype.json'}"]
    commands.assert_resume_is_exact(command, [*base_overrides, *more, "epochs=2"], tmp_path)


@pytest.mark.usefixtures("no_figures")
def test_a_searched_transformer_learns_language_modeling(commands: Any, tmp_path: Path) -> None:
    draw = random.Random(0)
    for split, lines in (("train", 120), ("valid", 60), ("test", 40)):
        starts = [draw.randrange(6) for _ in range(lines)]
        rows = [" ".join(NEUTRAL[(start + i) % 6] for i in range(6)) for start in starts]
        (tmp_path / f"{split}.txt").write_text("\n".join(rows) + "\n")
    start = [
        "task=language_model",
        "dataset=text",
        f"dataset.root={tmp_path}",
        "space=transformer",
        NO_TENSORBOARD,
        "space.hidden=16",
        "task.window=9",
        "loader.batch_size=6",
        "epochs=2",
    ]
    folder = tmp_path / "search"
    search_result = commands.call(
        "search", [*start, "space.cells=1", f"hydra.run.dir={folder}"], folder
    )
    assert search_result.result["valid_perplexity"] > 1
    folder = tmp_path / "retrain"
    more = [f"genotype={search_result.directory}", "optimizer.lr=0.01", f"hydra.run.dir={folder}"]
    retrain_result = commands.call("retrain", [*start, *more], folder)
    # The perplexity of six words and the end of a line is 7 without training.
    assert 1 < retrain_result.result["test_perplexity"] < 4


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        (
            "search",
            ["space=cnn"],
            "takes images or audio, but dataset=documents contains documents",
        ),
        ("search", ["method=pc_darts"], "space=transformer has no partial channels"),
        ("search", ["space.hidden=12"], "multiple of 8"),
        ("retrain", ["genotype=DARTS_V2"], "belongs to space=cnn, not to space=transformer"),
    ],
)
def test_invalid_combinations_are_refused_in_one_line(
    commands: Any,
    base_overrides: list[str],
    tmp_path: Path,
    command: str,
    overrides: list[str],
    message: str,
) -> None:
    keys = {override.partition("=")[0] for override in overrides}
    others = [word for word in base_overrides if word.partition("=")[0] not in keys]
    if "space" in keys:
        others = [word for word in others if not word.startswith("space.")]
    line = commands.error_of(command, *others, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line
