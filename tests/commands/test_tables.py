"""Classification of table rows in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darts.data import load

NO_TENSORBOARD = "tracking.tensorboard=false"


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Iris data set as a file with semicolons."""
    from sklearn import datasets

    bunch = datasets.load_iris()
    lines = [
        ";".join([str(bunch.target_names[label]), *map(str, row)])
        for row, label in zip(bunch.data.tolist(), bunch.target, strict=True)
    ]
    path = tmp_path_factory.mktemp("table") / "the iris.csv"
    path.write_text("\n".join(["kind;" + ";".join("abcd"), *lines]), encoding="utf-8")
    return path


@pytest.mark.usefixtures("no_figures")
def test_a_searched_network_learns_and_is_evaluated_with_equal_scores(
    iris: Path, commands: Any, tmp_path: Path
) -> None:
    table = [
        "dataset=csv",
        f"dataset.root={iris}",
        "dataset.label=kind",
        "space=mlp",
        NO_TENSORBOARD,
    ]
    search_result = commands.call(
        "search",
        [*table, "epochs=15", "space.widths=[8,16]", f"hydra.run.dir={tmp_path / 'search'}"],
        tmp_path / "search",
    )
    assert search_result.result["valid_accuracy"] > 0.8
    printed_arguments = commands.printed_arguments(search_result.out, "retrain")
    retrain_result = commands.call(
        "retrain",
        [*printed_arguments, "epochs=20", NO_TENSORBOARD, f"hydra.run.dir={tmp_path / 'retrain'}"],
        tmp_path / "retrain",
    )
    assert retrain_result.result["test_accuracy"] > 0.85
    assert retrain_result.result["genotype"] == search_result.result["genotype"]
    evaluation = commands.run(
        "evaluate", tmp_path / "evaluate", f"checkpoint={retrain_result.directory}"
    )
    assert evaluation.result["test_accuracy"] == retrain_result.result["test_accuracy"]
    test = load("csv", root=iris, label="kind", test_share=0.2, split_seed=0).test
    assert test is not None
    assert evaluation.result["samples"] == len(test) == 30


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("search", ["space=nas201"], "dataset=csv contains rows; choose space=mlp"),
        ("search", ["space=mlp", "dataset.crop=pad"], "dataset.crop"),
        ("search", ["space=mlp", "dataset.test_share=0"], "dataset.test_share=0.0: must be"),
        ("search", ["space=mlp", "dataset.label=e"], "has no column 'e' for dataset.label"),
        ("search", ["space=mlp"], "line 2, column 'kind': 'setosa' is not a number"),
    ],
)
def test_options_that_do_not_fit_tables_are_refused(
    command: str, overrides: list[str], message: str, iris: Path, commands: Any
) -> None:
    label = [] if "'kind'" in message else ["dataset.label=kind"]
    label = [] if any(word.startswith("dataset.label") for word in overrides) else label
    arguments = ["dataset=csv", f"dataset.root={iris}", *label, *overrides]
    assert message in commands.error_of(command, *arguments)
