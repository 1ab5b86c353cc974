"""The kinds of epochs and steps of a search, from which a dry run extrapolates."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
import torch

from darts.config import Invocation, SearchConfig, compose
from darts.recipes.first_samples import FITTED_SAMPLES, first_samples
from darts.recipes.search import Search
from darts.spaces.macro.fast_layers import WhitenedPatches
from darts.training.distributed import Ranks
from darts.training.run import TrainingRun

STEPS = 7  # per epoch: 56 images in batches of 8


def make_recipe(folder: Path, *overrides: str) -> Search:
    """Return a search that is ready for a dry run."""
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


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), [(0, 10, 0, True)]),
        (("method=pc_darts",), [(0, 3, 0, False), (3, 7, 0, True)]),
        (("method=random_sharing",), [(0, 10, 0, False)]),
        (
            ("method=drnas", "arch_optimizer.warmup=0.4"),
            [(0, 2, 0, False), (2, 3, 0, True), (5, 2, 1, False), (7, 3, 1, True)],
        ),
    ],
)
def test_epoch_kinds_differ_by_stage_and_alpha_updates(
    overrides: tuple[str, ...], expected: list[tuple[int, int, int, bool]], tmp_path: Path
) -> None:
    """A search that begins each epoch has the stage and the updates of the epoch's kind.

    Each expected span is: first epoch, number of epochs, stage, whether the alphas are updated.
    """
    recipe = make_recipe(tmp_path / "run", "epochs=10", "collapse.every=0", *overrides)
    assert len(recipe.state.train_loader) == STEPS
    spans = []
    for kind, members in groupby(range(10), key=recipe.epoch_kind):
        epochs = list(members)
        spans.append((epochs[0], len(epochs), kind))
    assert spans == [
        (first, count, (stage, updates, False)) for first, count, stage, updates in expected
    ]
    for first, count, stage, updates in expected:
        for epoch in range(first, first + count):
            recipe.begin_epoch(epoch)
            assert (recipe.searcher.position.stage, recipe.updates_alphas) == (stage, updates)


def test_epochs_with_a_collapse_check_have_their_own_kind(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "run", "method=pc_darts", "epochs=10", "collapse.every=4")
    kinds = [recipe.epoch_kind(epoch) for epoch in range(10)]
    frozen, updated, checked = (0, False, False), (0, True, False), (0, True, True)
    assert kinds == [*[frozen] * 3, checked, *[updated] * 3, checked, *[updated] * 2]


def test_steps_that_observe_gradients_have_their_own_kind(tmp_path: Path) -> None:
    """The freezing rule of this search observes the gradients of every step."""
    overrides = ("method=pc_darts", "epochs=10", "freezing=gradient_matching")
    recipe = make_recipe(tmp_path / "run", *overrides)
    kinds = Counter(recipe.step_kind(epoch, step) for epoch in range(10) for step in range(STEPS))
    assert kinds == {(0, False, False, True): 3 * STEPS, (0, True, False, True): 7 * STEPS}


def test_steps_with_a_self_check_of_the_hypergradient_have_their_own_kind(tmp_path: Path) -> None:
    """The alphas are updated in steps 14 to 27; every tenth step of the run has a check."""
    overrides = ("bilevel=unrolled", "bilevel.self_check=10", "arch_optimizer.warmup=0.5")
    recipe = make_recipe(tmp_path / "run", "epochs=4", "collapse.every=0", *overrides)
    kinds = {
        (epoch, step): recipe.step_kind(epoch, step) for epoch in range(4) for step in range(STEPS)
    }
    assert Counter(kinds.values()) == {
        (0, False, False, False): 2 * STEPS,
        (0, True, False, False): 2 * STEPS - 1,
        (0, True, True, False): 1,
    }
    (position,) = [position for position, kind in kinds.items() if kind == (0, True, True, False)]
    assert recipe.config.bilevel.reports_at(position[0] * STEPS + position[1])
    assert position == (2, 6)


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
    assert recipe.searcher.position.stage == stage
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
