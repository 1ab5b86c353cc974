"""Every image space except ``cnn`` works with all commands; no command depends on its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_search import BUILT_IN, IMAGE, small_space

from darts.spaces import SPACES, parse_genotype, space_of

pytestmark = pytest.mark.usefixtures("drawn_figures")
SPACES_WITHOUT_CNN = [
    name for name in BUILT_IN if name != "cnn" and "images" in SPACES[name].data_kinds
]


@pytest.mark.parametrize(
    "space",
    [
        pytest.param(name, marks=() if name == "nas201" else pytest.mark.slow)
        for name in SPACES_WITHOUT_CNN
    ],
)
def test_a_space_can_be_searched_retrained_evaluated_and_drawn(
    space: str, commands: Any, tmp_path: Path
) -> None:
    override, figures = f"space={space}", "tracking.figures=true"
    search_result = commands.run(
        "search", tmp_path / "search", override, "epochs=1", "space.cells=1", figures
    )
    genotype = parse_genotype(
        (search_result.directory / "genotype.json").read_text(encoding="utf-8")
    )
    assert space_of(genotype).name == space
    for group in genotype_groups(space):
        for figure in (f"alphas_{group}.png", f"alphas_{group}_history.png"):
            assert (search_result.directory / figure).stat().st_size > 1000
    assert "</text>" in (search_result.directory / "genotype.svg").read_text(encoding="utf-8")
    assert search_result.rows[-1]["genotype"] == str(genotype)

    genotype_override = f"genotype={search_result.directory}"
    sizes = ["epochs=1", "space.cells=1", "auxiliary=0"]
    sizes += ["space.channels=4"] if hasattr(SPACES[space], "channels") else []
    retrain_result = commands.run(
        "retrain", tmp_path / "retrain", genotype_override, override, *sizes
    )
    evaluation = commands.run(
        "evaluate", tmp_path / "evaluate", f"checkpoint={retrain_result.directory}"
    )
    assert evaluation.result["test_accuracy"] == retrain_result.result["test_accuracy"]
    assert evaluation.result["genotype"] == str(genotype)

    out = commands.run("genotypes", None, f"validate={search_result.directory}").out
    assert f"space       {space}" in out
    figure = tmp_path / "both.png"
    compared = [f"compare=[{search_result.directory},{search_result.directory}]", f"out={figure}"]
    assert "search and search: equal" in commands.run("genotypes", None, *compared).out
    assert figure.stat().st_size > 10_000


def genotype_groups(space: str) -> list[str]:
    """Return the names of the groups of a space."""
    small = small_space(space, channels=2, cells=1)
    return list(small.supernet(classes=2, in_channels=small.in_channels(IMAGE)).alphas)
