"""Every image space except ``cnn`` works with all commands; no command depends on its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_search import IMAGE, small_space

from darts.spaces import SPACES, parse_genotype, space_of

OTHERS = [name for name in SPACES if name != "cnn" and "images" in SPACES[name].data_kinds]


@pytest.mark.parametrize("space", OTHERS)
def test_search_retrain_evaluate_and_show(space: str, commands: Any, tmp_path: Path) -> None:
    chosen, quiet = f"space={space}", "tracking.tensorboard=false"
    found = commands.run("search", tmp_path / "found", chosen, "epochs=1", "space.cells=1")
    genotype = parse_genotype((found.directory / "genotype.json").read_text(encoding="utf-8"))
    assert space_of(genotype).name == space
    for group in genotype_groups(space):
        for picture in (f"alphas_{group}.png", f"alphas_{group}_history.png"):
            assert (found.directory / picture).stat().st_size > 1000
    assert "</text>" in (found.directory / "genotype.svg").read_text(encoding="utf-8")
    assert found.rows[-1]["genotype"] == str(genotype)

    given = f"genotype={found.directory}"
    sizes = ["epochs=1", "space.cells=1", "auxiliary=0", quiet]
    sizes += ["space.channels=4"] if hasattr(SPACES[space], "channels") else []
    trained = commands.run("retrain", tmp_path / "trained", given, chosen, *sizes)
    scored = commands.run("evaluate", tmp_path / "scored", f"checkpoint={trained.directory}")
    assert scored.result["test_accuracy"] == trained.result["test_accuracy"]
    assert scored.result["genotype"] == str(genotype)

    out = commands.run("genotypes", None, f"validate={found.directory}").out
    assert f"space       {space}" in out
    picture = tmp_path / "both.png"
    compared = [f"compare=[{found.directory},{found.directory}]", f"out={picture}"]
    assert "found and found: equal" in commands.run("genotypes", None, *compared).out
    assert picture.stat().st_size > 10_000


def genotype_groups(space: str) -> list[str]:
    place = small_space(space, channels=2, cells=1)
    return list(place.supernet(classes=2, in_channels=place.in_channels(IMAGE)).alphas)


@pytest.mark.parametrize("space", OTHERS)
def test_a_genotype_of_another_space_is_rejected(space: str, commands: Any) -> None:
    line = commands.error_of("retrain", "genotype=DARTS_V2", f"space={space}")
    assert f"genotype='DARTS_V2' belongs to space=cnn, not to space={space}; add space=cnn" in line
