"""Probabilities of the operations on the page of a search."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from darts.reporting import read_run, render_page
from darts.spaces.macro.genotype import PRIMITIVES

WIDTHS = ["relu_8", "relu_16", "tanh_8"]
# By space and group, the names of the edges and the candidates of each edge.
SPACES: dict[str, Any] = {
    "macro": {
        "first": (["0→1", "2→3", "4→5"], list(PRIMITIVES[:-1])),
        "rest": (["1→2", "3→4", "5→6"], list(PRIMITIVES)),
    },
    "mlp": {"first": (["0→1"], WIDTHS), "rest": (["1→2", "2→3"], [*WIDTHS, "skip_connect"])},
}


def write_run(directory: Path, genotype: dict[str, Any], epochs: int = 2) -> Path:
    """Write the files of a search that a page reads to show the alphas; return the directory."""
    alphas = {
        group: {
            "edges": edges,
            "operations": [names] * len(edges),
            "epochs": [[[1 / len(names)] * len(names)] * len(edges)] * epochs,
        }
        for group, (edges, names) in SPACES[genotype["space"]].items()
    }
    for name, content in (
        ("config.yaml", {"name": "run"}),
        ("summary.json", {"command": "search"}),
        ("genotype.json", genotype),
        ("alphas.json", alphas),
    ):
        (directory / name).write_text(json.dumps(content))
    return directory


@pytest.mark.parametrize(
    ("genotype", "chosen"),
    [
        (
            {"space": "macro", "blocks": ["mb_k3_e3", "skip_connect", *["mb_k5_e6"] * 4]},
            {"0→1 mb_k3_e3", "1→2 skip_connect"}
            | {f"{number}→{number + 1} mb_k5_e6" for number in range(2, 6)},
        ),
        # The genotype has two of three layers; the other one is skipped.
        (
            {"space": "mlp", "layers": ["tanh_8", "relu_16"]},
            {"0→1 tanh_8", "1→2 relu_16", "2→3 skip_connect"},
        ),
    ],
)
def test_chosen_operations_are_marked_in_groups_that_are_not_cells(
    genotype: dict[str, Any], chosen: set[str], tmp_path: Path
) -> None:
    text = render_page([read_run(write_run(tmp_path, genotype))])
    marked = set()
    for group, (edges, operations) in SPACES[genotype["space"]].items():
        part = text.split(f"<h4>{group}</h4>")[1].split("<h4>")[0]
        for row, column in re.findall(r'id="figure-\d+-chosen-(\d+)-(\d+)"', part):
            marked.add(f"{edges[int(row)]} {operations[int(column)]}")
    assert marked == chosen


def test_genotype_that_does_not_match_the_alphas_marks_nothing(tmp_path: Path) -> None:
    """The two files may come from different epochs of an unfinished search."""
    genotype = {"space": "macro", "blocks": ["mb_k3_e3"] * 3}
    text = render_page([read_run(write_run(tmp_path, genotype))])
    assert ">0→1</text>" in text
    assert "chosen-" not in text


@pytest.mark.parametrize("operations", [2, 41])
def test_candidates_that_differ_are_listed_and_large_groups_are_not_drawn(
    tmp_path: Path, operations: int
) -> None:
    directory = write_run(tmp_path, {"space": "mlp", "layers": ["tanh_8"]})
    history = {
        "edges": ["1→2", "2→3"],
        "operations": [[f"relu_{edge}_{n}" for n in range(operations)] for edge in range(2)],
        "epochs": [[[1 / operations] * operations] * 2],
    }
    (directory / "alphas.json").write_text(json.dumps({"some": history}))
    text = render_page([read_run(directory)])
    assert "<td>2→3</td><td>relu_1_0</td><td>relu_1_1</td>" in text
    assert ("too many edges or operations" in text) == (operations == 41)
    assert (">candidate 1</text>" in text) == (operations == 2)
