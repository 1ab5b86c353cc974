"""The recipe of a search."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from darts.config import Invocation, SearchConfig, compose
from darts.recipes.cost_callbacks import LatencyModels
from darts.recipes.search import Search, configured_callbacks
from darts.recipes.search_callbacks import (
    MIN_PREFERENCE,
    AlphaRate,
    is_check_due,
    strongest_preference,
)
from darts.searching.flaws import uniform_alphas
from darts.spaces.macro.fast_layers import WhitenedPatches
from darts.spaces.network import FITTED_SAMPLES, first_samples
from darts.training.distributed import Ranks
from darts.training.run import TrainingRun
from darts.typed_values import Misfit


def make_recipe(folder: Path, *overrides: str) -> Search:
    data = ("dataset=synthetic", "dataset.samples=112", "loader.batch_size=8", "device=cpu")
    sizes = ("space=nas201", "space.channels=8", "space.cells=1", "dry_run=true")
    config: SearchConfig = compose("search", [*data, *sizes, *overrides])
    return Search(config, TrainingRun("search", Invocation(folder, ()), config, ranks=Ranks("cpu")))


@pytest.mark.parametrize("stage", [0, 1])
def test_the_whitened_patches_of_supernets_fit_the_samples(stage: int, tmp_path: Path) -> None:
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
    expected.whiten(first_samples(recipe.state.train_loader))
    torch.testing.assert_close(patches.weight, expected.weight)


def test_the_first_samples_end_with_a_batch_or_the_epoch(tmp_path: Path) -> None:
    loader = make_recipe(tmp_path / "few").state.train_loader
    assert len(first_samples(loader)) == 56  # all
    many = make_recipe(tmp_path / "many", "dataset.samples=2000").state.train_loader
    samples = first_samples(many)
    assert len(samples) == FITTED_SAMPLES == 64 * 8
    assert samples[8:16].equal(many.batch(0, 1)[0])


@pytest.mark.parametrize("scale", [1e-3, 0.1, 2.0])
def test_the_clearest_edge_of_all_groups_counts(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = {
        "a": (scale * torch.randn(5, 4, generator=generator)).softmax(-1),
        "b": (scale * torch.randn(3, 6, generator=generator)).sigmoid(),
    }
    probabilities["a"][0, 1:] = 0  # one candidate is left, so this edge has no choice
    probabilities["a"][1, 2:] = 0
    strengths = []
    for p in probabilities.values():
        for row in p.double().tolist():
            kept = sorted((value for value in row if value > 0), reverse=True)
            if len(kept) > 1:
                strengths.append(kept[0] / kept[1] - 1)
    expected = max(strengths)
    assert strongest_preference(probabilities) == pytest.approx(expected, rel=1e-9)
    # Edge weights multiply all candidates of an edge.
    weighted = {group: p * torch.rand(len(p), 1) for group, p in probabilities.items()}
    assert strongest_preference(weighted) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def due_epochs(updated: list[int], first: int, length: int) -> list[int]:
    return [epoch for epoch in range(200) if is_check_due(epoch, updated, first, length)]


def test_checks_follow_each_tenth_of_the_updated_epochs_except_the_last() -> None:
    assert due_epochs(list(range(50)), 0, 50) == [4, 9, 14, 19, 24, 29, 34, 39, 44]
    assert due_epochs(list(range(15, 50)), 0, 50) == [18, 22, 26, 30, 34, 38, 42, 46]
    assert due_epochs(list(range(15)), 0, 15) == [1, 3, 5, 7, 9, 11, 13]
    assert due_epochs([0, 1], 0, 2) == [0]
    assert due_epochs([0], 0, 1) == []
    assert due_epochs([], 0, 50) == []


def test_checks_count_anew_in_a_stage_with_new_alphas() -> None:
    """Two stages of 30 epochs, each with 10 epochs of frozen alphas."""
    updated = [*range(10, 30), *range(40, 60)]
    assert due_epochs(updated, 0, 30) == [11, 13, 15, 17, 19, 21, 23, 25, 27]
    assert due_epochs(updated, 30, 30) == [41, 43, 45, 47, 49, 51, 53, 55, 57]


@pytest.mark.parametrize(
    ("override", "raises"),
    [
        (None, True),
        ("arch_optimizer.raises=0", False),
        ("method=random_sharing", False),
        ("relaxation=uniform", False),
    ],
)
def test_the_rate_is_not_raised_without_alphas(override: str | None, raises: bool) -> None:
    search: Any = SimpleNamespace(
        config=compose("search", ["dataset=synthetic", *([] if override is None else [override])]),
        state=SimpleNamespace(parts={}),
    )
    assert any(isinstance(part, AlphaRate) for part in configured_callbacks(search)) == raises


def test_a_weaker_preference_after_a_tenth_of_the_updates_ends_uniform() -> None:
    """Ten times the distance of the alphas gives an edge that counts as uniform."""
    alphas = torch.zeros(1, 8, dtype=torch.float64)
    alphas[0, 3] = math.log1p(MIN_PREFERENCE)
    assert strongest_preference({"a": alphas.softmax(-1)}) == pytest.approx(MIN_PREFERENCE)
    assert uniform_alphas({"a": (10 * alphas).softmax(-1)}) is not None


def part(*words: str) -> LatencyModels:
    """Return the part of a search that a checkpoint saves."""
    config = compose("search", ["dataset=synthetic", "space=nas201", *words])
    search: Any = SimpleNamespace(config=config, state=SimpleNamespace(parts={}))
    made = LatencyModels(search)
    assert search.state.parts == {"latency_models": made}
    return made


@pytest.mark.parametrize(
    ("changed", "key"), [("phone.json", "limit"), ("phone.csv", "front"), ("phone.yaml", "front")]
)
def test_a_changed_model_is_refused_on_resume(tmp_path: Path, changed: str, key: str) -> None:
    """The files are a fitted model and a lookup table."""
    for name in ("phone.json", "phone.csv", "phone.yaml"):
        (tmp_path / name).write_text("as it was")
    words = ["limit.latency_ms=3", f"limit.device={tmp_path / 'phone.json'}"]
    words += ["front.cost=latency_ms", f"front.device={tmp_path / 'phone.csv'}"]
    saved = part(*words).state_dict()
    part(*words).load_state_dict(saved)
    (tmp_path / changed).write_text("other")
    with pytest.raises(Misfit, match=rf"the file of {key}\.device=\S+ has changed since"):
        part(*words).load_state_dict(saved)
