"""Translation and summarization in every command: search, retrain, evaluate and resume."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from darts.reading import read_json

NO_TENSORBOARD = "tracking.tensorboard=false"
NO_FIGURES = "tracking.figures=false"
NUMBERS = {"ein": "one", "zwei": "two", "drei": "three", "vier": "four", "fünf": "five"}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of numbers in words, in two languages."""
    draw = random.Random(0)
    folder = tmp_path_factory.mktemp("numbers")
    for split, count in (("train", 160), ("valid", 20), ("test", 20)):
        rows = [draw.choices(list(NUMBERS), k=draw.randrange(1, 5)) for _ in range(count)]
        (folder / f"{split}.de").write_text("".join(" ".join(row) + "\n" for row in rows))
        translations = [" ".join(NUMBERS[word] for word in row) for row in rows]
        (folder / f"{split}.en").write_text("".join(line + "\n" for line in translations))
    return folder


@pytest.fixture
def base_overrides(text: Path) -> list[str]:
    """Overrides of a tiny run."""
    return [
        "task=translation",
        "dataset=pairs",
        f"dataset.root={text}",
        NO_TENSORBOARD,
        NO_FIGURES,
        "dataset.source=de",
        "dataset.target=en",
        "dataset.subset=160",
        "task.max_length=8",
        "space.embedding=24",
        "space.hidden=24",
        "loader.batch_size=16",
        "seed=5",
        *(f"space.{layer}_dropout=0.05" for layer in ("embedding", "hidden", "output")),
    ]


def test_a_searched_translator_learns_and_is_evaluated_with_equal_scores(
    commands: Any, base_overrides: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "search"
    small = [*base_overrides, "space.nodes=2", "epochs=2", f"hydra.run.dir={folder}"]
    search_result = commands.call("search", small, folder)
    assert set(search_result.result) >= {"valid_bleu", "valid_loss", "valid_perplexity"}
    printed_arguments = commands.printed_arguments(search_result.out, "retrain")
    assert {"task=translation", "dataset=pairs", "dataset.source=de"} <= set(printed_arguments)
    words = read_json(folder / "vocabulary.json")
    assert set(NUMBERS.values()) <= set(words["target"])

    folder = tmp_path / "retrain"
    more = [f"genotype={search_result.directory}", "epochs=25", "optimizer.lr=0.02", "task.beam=2"]
    retrain_result = commands.call(
        "retrain", [*base_overrides, *more, f"hydra.run.dir={folder}"], folder
    )
    assert retrain_result.result["genotype"] == search_result.result["genotype"]
    # BLEU needs four matching words in a row, which most of these short rows do not have.
    assert retrain_result.result["test_perplexity"] < 2.5
    table = (folder / "samples_test.md").read_text()
    assert table.startswith("| reference | generated |")
    assert any(line.split("|")[1] == line.split("|")[2] for line in table.splitlines()[2:])
    evaluation = commands.run(
        "evaluate", tmp_path / "evaluate", f"checkpoint={retrain_result.directory}"
    )
    assert (tmp_path / "evaluate" / "samples_test.md").read_text() == table
    for name in ("bleu", "loss", "perplexity"):
        assert evaluation.result[f"test_{name}"] == retrain_result.result[f"test_{name}"]


@pytest.mark.parametrize("command", ["search", pytest.param("retrain", marks=pytest.mark.slow)])
def test_a_resumed_run_ends_like_an_unbroken_one(
    commands: Any, base_overrides: list[str], tmp_path: Path, command: str
) -> None:
    more = ["space.nodes=2"] if command == "search" else ["genotype=DARTS_RNN_V1"]
    commands.assert_resume_is_exact(
        command, [*base_overrides, *more, "epochs=2", "dataset.subset=96"], tmp_path
    )


@pytest.mark.parametrize(
    "method", ["darts_v2", pytest.param("gdas", marks=pytest.mark.slow), "random_sharing"]
)
def test_each_method_searches_translators(
    commands: Any, base_overrides: list[str], tmp_path: Path, method: str
) -> None:
    more = ["discretize.samples=2"] if method == "random_sharing" else []
    more += ["optimizer.algorithm=sgd", "optimizer.lr=0.5"] if method == "darts_v2" else []
    small = [
        *base_overrides,
        f"method={method}",
        "space.nodes=2",
        "epochs=1",
        "dataset.subset=64",
        *more,
    ]
    done = commands.call("search", [*small, f"hydra.run.dir={tmp_path}"], tmp_path)
    assert done.result["valid_loss"] > 0


def test_summaries_are_scored_with_rouge(commands: Any, tmp_path: Path) -> None:
    rows = [f'"{n % 4 + 1}","one {n % 5} two","a text of {n % 5} words"' for n in range(80)]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    task = [
        "task=summarization",
        f"dataset.root={tmp_path}",
        NO_TENSORBOARD,
        NO_FIGURES,
        "epochs=1",
    ]
    small = ["space.embedding=8", "space.hidden=8", "space.nodes=2", "dataset.subset=null"]
    size = ["loader.batch_size=8", "task.max_length=5", f"hydra.run.dir={tmp_path / 'run'}"]
    done = commands.call("search", [*task, *small, *size], tmp_path / "run")
    assert {"valid_rouge1", "valid_rouge2", "valid_rougeL"} <= set(done.result)
    words = read_json(tmp_path / "run" / "vocabulary.json")
    assert words["source"] == words["target"]
    assert not any("bleu" in name for name in done.result)


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("search", ["dataset.subset=999"], "more than the 160 training pairs of pairs"),
        ("search", ["train_portion=0.001"], "leaves a subset empty; use more pairs"),
        (
            "search",
            ["bilevel=unrolled"],
            "bilevel=unrolled: needs optimizer.algorithm=sgd, not adam; or choose",
        ),
        ("search", ["penalty.parameters=100"], "leave penalty out"),
        ("search", ["space.copy=true"], "must have one vocabulary; set dataset.joint=true"),
        ("search", ["dataset.target=fr"], "train.fr, valid.fr, test.fr not in"),
        ("retrain", ["genotype=DARTS_RNN_V2", "cutout=4"], "cutout=4 erases a square of an image"),
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
    line = commands.error_of(command, *others, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line
