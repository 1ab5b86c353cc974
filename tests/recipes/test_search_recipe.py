"""The first samples of a search, which fit layers of its supernet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from darts.config import Invocation, SearchConfig, compose
from darts.recipes.search import Search
from darts.spaces.macro.fast_layers import WhitenedPatches
from darts.spaces.network import FITTED_SAMPLES, first_samples
from darts.training.distributed import Ranks
from darts.training.run import TrainingRun


def make_recipe(folder: Path, *overrides: str) -> Search:
    config: SearchConfig = compose(
        "search",
        [
            "dataset=synthetic",
            "dataset.samples=112",
            "loader.batch_size=8",
            "space=nas201",
            "space.channels=8",
            "space.cells=1",
            "device=cpu",
            "dry_run=true",
            *overrides,
        ],
    )
    return Search(config, TrainingRun("search", Invocation(folder, ()), config, ranks=Ranks("cpu")))


@pytest.mark.parametrize("stage", [0, 1])
def test_the_whitened_patches_of_a_supernet_fit_the_first_samples(
    stage: int, tmp_path: Path
) -> None:
    """Also those of a stage that begins with new weights."""
    recipe = make_recipe(
        tmp_path / "run",
        *("space=macro", "space.skeleton=fast", "space.channels=2", "epochs=4"),
        "stages=[{share: 0.5}, {share: 0.5, fresh: true}]",
    )
    recipe.begin_epoch(2 * stage)
    assert recipe.searcher.stage == stage
    patches = recipe.searcher.net.stem[0]
    expected = WhitenedPatches(3)
    expected.fit(first_samples(recipe.state.train_loader))
    torch.testing.assert_close(patches.weight, expected.weight)


def test_the_first_samples_end_with_a_batch_or_the_epoch(tmp_path: Path) -> None:
    loader = make_recipe(tmp_path / "few").state.train_loader
    assert len(first_samples(loader)) == 56  # all
    many = make_recipe(tmp_path / "many", "dataset.samples=2000").state.train_loader
    samples = first_samples(many)
    assert len(samples) == FITTED_SAMPLES == 64 * 8
    assert samples[8:16].equal(many.batch(0, 1)[0])
