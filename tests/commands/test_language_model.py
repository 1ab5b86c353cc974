"""Language models in every command: search, retrain, evaluate and resume."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from darts.reading import read_json

NO_TENSORBOARD = "tracking.tensorboard=false"
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran", "to", "some", "place")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of sentences in which each word determines the next one."""
    draw = random.Random(0)
    folder = tmp_path_factory.mktemp("text")
    for split, lines in (("train", 120), ("valid", 60), ("test", 40)):
        rows = []
        for _ in range(lines):
            start = draw.randrange(len(WORDS))
            rows.append(" ".join(WORDS[(start + i) % len(WORDS)] for i in range(6)))
        (folder / f"{split}.txt").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def base_overrides(text: Path) -> list[str]:
    """Overrides of a tiny run."""
    sizes = ("space.embedding=12", "space.hidden=12", "task.window=9", "loader.batch_size=6")
    layers = ("embedding", "input", "hidden", "output")
    return [
        "task=language_model",
        "dataset=text",
        f"dataset.root={text}",
        NO_TENSORBOARD,
        *sizes,
        *(f"space.{layer}_dropout=0.1" for layer in layers),
        "optimizer.lr=5.0",
        "seed=5",
    ]


@pytest.mark.usefixtures("no_figures")
def test_a_searched_language_model_learns_and_is_evaluated_with_equal_scores(
    commands: Any, base_overrides: list[str], tmp_path: Path, text: Path
) -> None:
    folder = tmp_path / "search"
    small = [*base_overrides, "space.nodes=3", "epochs=2"]
    search_result = commands.call("search", [*small, f"hydra.run.dir={folder}"], folder)
    printed_arguments = commands.printed_arguments(search_result.out, "retrain")
    assert {"task=language_model", "dataset=text", f"dataset.root={text}"} <= set(printed_arguments)
    assert set(search_result.result) >= {"valid_perplexity", "valid_bits", "valid_loss"}
    assert not any("accuracy" in key for row in search_result.rows for key in row)
    assert read_json(folder / "vocabulary.json")[0] == "<eos>"

    folder = tmp_path / "retrain"
    retrain_result = commands.call(
        "retrain",
        [
            *base_overrides,
            "optimizer.lr=0.03",  # of AdamW
            f"genotype={search_result.directory}",
            "epochs=25",
            f"hydra.run.dir={folder}",
        ],
        folder,
    )
    assert retrain_result.result["genotype"] == search_result.result["genotype"]
    # The perplexity of thirteen words and the end of a line is 14 without training.
    assert 1 < retrain_result.result["test_perplexity"] < 8
    assert (folder / "vocabulary.json").exists()
    evaluation = commands.run(
        "evaluate", tmp_path / "evaluate", f"checkpoint={retrain_result.directory}"
    )
    for name in ("perplexity", "bits", "loss"):
        assert evaluation.result[f"test_{name}"] == retrain_result.result[f"test_{name}"]
    assert evaluation.result["samples"] == 40 * 7 - 1  # all tokens after the first
    validation = commands.run(
        "evaluate", tmp_path / "valid", f"checkpoint={retrain_result.directory}", "split=valid"
    )
    assert validation.result["valid_perplexity"] == retrain_result.result["valid_perplexity"]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("command", ["search", pytest.param("retrain", marks=pytest.mark.slow)])
def test_a_resumed_run_ends_like_an_unbroken_one(
    commands: Any, base_overrides: list[str], tmp_path: Path, command: str
) -> None:
    """The checkpoint contains the states of both loaders."""
    # A retraining uses AdamW, which would diverge at the learning rate of SGD.
    retrain = ["genotype=DARTS_RNN_V1", "optimizer.lr=0.03"]
    more = ["space.nodes=2"] if command == "search" else retrain
    commands.assert_resume_is_exact(command, [*base_overrides, *more, "epochs=2"], tmp_path)


@pytest.mark.parametrize(
    "method",
    [
        "darts_v2",
        "gdas",
        "drnas",
        "random_sharing",
        pytest.param("darts_pt", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("no_figures")
def test_each_method_searches_language_models(
    commands: Any, base_overrides: list[str], tmp_path: Path, method: str
) -> None:
    more = {
        "drnas": ["stages=[]", "relaxation.partial=1", "arch_optimizer.warmup=0"],
        "random_sharing": ["discretize.samples=3"],
        "darts_pt": ["discretize.tune=0", "discretize.batches=1"],
    }.get(method, [])
    small = [*base_overrides, f"method={method}", "space.nodes=2", "epochs=1", *more]
    done = commands.call("search", [*small, f"hydra.run.dir={tmp_path}"], tmp_path)
    assert done.result["valid_perplexity"] > 1
    assert len(done.json("genotype.json")["recurrent"]) == 2


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("search", ["dataset=digits"], "learns from text, but dataset=digits contains images"),
        ("search", ["task=classification"], "dataset=text contains text; choose dataset=digits or"),
        ("search", ["loader.batch_size=400"], "too few for windows of 9; choose a smaller"),
        ("search", ["dataset.subset=999999"], "more than the 840 training tokens of text"),
        ("search", ["dataset.level=syllable"], "dataset.level='syllable' is unknown"),
        ("search", ["method=pc_darts"], "space=recurrent has no partial channels"),
        ("search", ["discretize.skip_limit=2"], "space=recurrent has no skip connections"),
        (
            "search",
            ["stages=[{skip_dropout: 0.1}]"],
            "has no skip connections to drop; set skip_dropout=0",
        ),
        ("retrain", ["genotype=DARTS_RNN_V2", "auxiliary=0.4"], "no auxiliary head"),
        ("retrain", ["genotype=DARTS_RNN_V2", "drop_path=0.1"], "set drop_path=0"),
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
    if "dataset" in keys:
        others = [word for word in others if not word.startswith("dataset.")]
    if keys & {"space", "task"}:
        others = [word for word in others if not word.startswith(("space.", "task."))]
    line = commands.error_of(command, *others, *overrides, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in line
