"""A search whose alphas learn nothing raises their learning rate."""

from __future__ import annotations

from pathlib import Path

import command_calls as commands
import pytest

from darts.config import compose
from darts.spaces import SPACES

NO_TENSORBOARD = "tracking.tensorboard=false"
SLOW = (
    *("dataset=synthetic", "dataset.samples=48", "loader.batch_size=8", "seed=7"),
    *("space=nas201", "space.channels=1", "space.cells=1", "collapse.every=0"),
    *("epochs=5", "arch_optimizer.lr=1e-5", "tracking.figures=false"),
)


def test_the_raised_rate_is_used_and_reported(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = commands.call("search", [*SLOW, f"hydra.run.dir={folder}"], folder)
    expected = [1e-5, 3e-5, 9e-5, 27e-5, 27e-5]
    assert [row["arch_lr"] for row in done.rows] == pytest.approx(expected)
    assert done.result["arch_lr"] == pytest.approx(27e-5)
    assert done.out.count("no edge prefers an operation") == 3
    assert "raised from 1e-05 to 3e-05 (raise 1 of 3)" in done.out
    saved = done.checkpoint
    assert saved["raises"] == 3
    rates = [group["lr"] for group in saved["searcher"]["arch_optimizer"]["param_groups"]]
    assert rates == pytest.approx([27e-5])
    values = [event.value for event in done.board.Scalars("lr/alphas")]
    assert values == pytest.approx(expected)


@pytest.mark.slow
def test_a_search_with_raises_that_is_killed_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    """The run ends within the third epoch, after two raises; an epoch has three steps."""
    commands.assert_resume_is_exact("search", [*SLOW, NO_TENSORBOARD], tmp_path, steps=7)


@pytest.mark.parametrize(
    "overrides",
    [
        *(f"dataset={name}" for name in ("cifar10", "cifar100", "svhn", "imagenet")),
        *(f"experiment={name}" for name in ("cifar10_cpu", "nas201_cpu", "nas_bench_macro")),
        "task=language_model dataset=ptb",
    ],
)
def test_published_searches_keep_their_rate(overrides: str) -> None:
    assert compose("search", overrides.split()).arch_optimizer.raises == 0


@pytest.mark.parametrize("space", sorted({"cnn", "nas201", "macro", "mlp"} & SPACES.keys()))
def test_searches_on_own_data_may_raise_their_rate(space: str) -> None:
    config = compose("search", ["dataset=imagefolder", "dataset.root=x", f"space={space}"])
    assert config.arch_optimizer.raises == 3
