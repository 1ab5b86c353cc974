"""Probabilities of the operations on the page of a search."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from darts.reporting import read_run, render_page
from darts.spaces.macro import PRIMITIVES

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
    marked = re.findall(r'<span class="chosen">([^<]+)</span>', text)
    assert sorted(marked) == sorted(chosen)
    thick = re.findall(r'<polyline class="[^"]* k" [^>]*><title>(\w+)', text)
    assert sorted(thick) == sorted(edge_and_operation.split()[1] for edge_and_operation in chosen)


def test_genotype_that_does_not_match_the_alphas_marks_nothing(tmp_path: Path) -> None:
    """The two files may come from different epochs of an unfinished search."""
    genotype = {"space": "macro", "blocks": ["mb_k3_e3"] * 3}
    text = render_page([read_run(write_run(tmp_path, genotype))])
    assert 'aria-label="first 0→1"' in text
    assert 'class="chosen"' not in text


def test_ninth_operation_repeats_the_first_color_dashed_in_the_legend(tmp_path: Path) -> None:
    directory = write_run(tmp_path, {"space": "mlp", "layers": ["tanh_8"]})
    alphas = json.loads((directory / "alphas.json").read_text())
    for history in alphas.values():
        many = [f"relu_{width}" for width in range(1, 11)]
        history["operations"] = [many] * len(history["edges"])
        history["epochs"] = [[[0.1] * 10] * len(history["edges"])] * 2
    (directory / "alphas.json").write_text(json.dumps(alphas))
    text = render_page([read_run(directory)])
    assert '<li class="c0">relu_1</li>' in text
    assert '<li class="c0 d">relu_9</li>' in text
