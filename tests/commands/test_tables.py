"""A table of numbers goes through every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darts.data import load
from darts.spaces import SPACES

QUIET = "tracking.tensorboard=false"


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn import datasets

    bunch = datasets.load_iris()
    lines = [
        ";".join([str(bunch.target_names[label]), *map(str, row)])
        for row, label in zip(bunch.data.tolist(), bunch.target, strict=True)
    ]
    path = tmp_path_factory.mktemp("table") / "the iris.csv"
    path.write_text("\n".join(["kind;" + ";".join("abcd"), *lines]), encoding="utf-8")
    return path


@pytest.mark.usefixtures("no_pictures")
def test_search_retrain_and_evaluate(iris: Path, commands: Any, tmp_path: Path) -> None:
    table = ["dataset=csv", f"dataset.root={iris}", "dataset.label=kind", "space=mlp", QUIET]
    found = commands.exactly(
        "search",
        [*table, "epochs=15", "space.widths=[8,16]", f"hydra.run.dir={tmp_path / 'found'}"],
        tmp_path / "found",
    )
    assert found.result["valid_accuracy"] > 0.8
    given = commands.printed(found.out, "retrain")
    trained = commands.exactly(
        "retrain",
        [*given, "epochs=20", QUIET, f"hydra.run.dir={tmp_path / 'trained'}"],
        tmp_path / "trained",
    )
    assert trained.result["test_accuracy"] > 0.85
    assert trained.result["genotype"] == found.result["genotype"]
    scored = commands.run("evaluate", tmp_path / "scored", f"checkpoint={trained.directory}")
    assert scored.result["test_accuracy"] == trained.result["test_accuracy"]
    test = load("csv", root=iris, label="kind", test_share=0.2, split_seed=0).test
    assert test is not None
    assert scored.result["samples"] == len(test) == 30


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        *(
            ("search", [f"space={name}"], "dataset=csv contains rows; choose space=mlp")
            for name in SPACES
            if "images" in SPACES[name].data_kinds and "rows" not in SPACES[name].data_kinds
        ),
        (
            "retrain",
            ["genotype=DARTS_V2"],
            "takes images or audio, but dataset=csv contains rows",
        ),
        ("search", ["space=mlp", "dataset.crop=pad"], "dataset.crop"),
        ("search", ["space=mlp", "dataset.flip=true"], "dataset.flip"),
        ("search", ["space=mlp", "dataset.size=8"], "dataset.size"),
        ("search", ["space=mlp", "dataset.storage=disk"], "dataset.storage"),
        ("search", ["space=mlp", "dataset.test_share=0"], "dataset.test_share=0.0: must be"),
        ("search", ["space=mlp", "dataset.label=e"], "has no column 'e' for dataset.label"),
        ("search", ["space=mlp"], "line 2, column 'kind': 'setosa' is not a number"),
        (
            "retrain",
            ["space=mlp", 'genotype={"space": "mlp", "layers": ["relu_4"]}', "cutout=2"],
            "cutout=2 erases a square of an image",
        ),
    ],
)
def test_what_a_table_has_not(
    command: str, overrides: list[str], message: str, iris: Path, commands: Any
) -> None:
    label = [] if "'kind'" in message else ["dataset.label=kind"]
    label = [] if any(word.startswith("dataset.label") for word in overrides) else label
    given = ["dataset=csv", f"dataset.root={iris}", *label, *overrides]
    assert message in commands.refused(command, *given)
