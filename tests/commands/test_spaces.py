"""Every image space except ``cnn`` works with all commands; no command depends on its name."""

from __future__ import annotations

from pathlib import Path

import command_calls as commands
import pytest
from slow_cases import slow_except
from tiny_search import BUILT_IN

from darts.spaces import SPACES, parse_genotype, space_of

pytestmark = pytest.mark.usefixtures("drawn_figures")
SPACES_WITHOUT_CNN = [
    name for name in BUILT_IN if name != "cnn" and "images" in SPACES[name].data_kinds
]


@pytest.mark.parametrize("space", slow_except(SPACES_WITHOUT_CNN, ("nas201",)))
def test_a_space_can_be_searched_retrained_evaluated_and_drawn(space: str, tmp_path: Path) -> None:
    own = (f"space={space}", "epochs=1", "space.cells=1")
    found = commands.run("search", tmp_path / "search", *own, "tracking.figures=true")
    genotype = parse_genotype((found.directory / "genotype.json").read_text(encoding="utf-8"))
    assert space_of(genotype).name == space
    for group in found.json("alphas.json"):
        for figure in (f"alphas_{group}.png", f"alphas_{group}_history.png"):
            assert (found.directory / figure).stat().st_size > 1000
    assert "</text>" in (found.directory / "genotype.svg").read_text(encoding="utf-8")
    assert found.rows[-1]["genotype"] == str(genotype)

    sizes = ["space.channels=4"] if hasattr(SPACES[space], "channels") else []
    words = (f"genotype={found.directory}", *own, "auxiliary=0", *sizes)
    trained = commands.run("retrain", tmp_path / "retrain", *words)
    checkpoint = f"checkpoint={trained.directory}"
    evaluation = commands.run("evaluate", tmp_path / "evaluate", checkpoint)
    assert evaluation.result["test_accuracy"] == trained.result["test_accuracy"]
    assert evaluation.result["genotype"] == str(genotype)

    out = commands.run("genotypes", None, f"validate={found.directory}").out
    assert f"space       {space}" in out
    figure = tmp_path / "both.png"
    compared = [f"compare=[{found.directory},{found.directory}]", f"out={figure}"]
    assert "search and search: equal" in commands.run("genotypes", None, *compared).out
    assert figure.stat().st_size > 10_000
