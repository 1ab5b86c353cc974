"""A search that diverges repeats the epoch from the state at its beginning."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch
from end_states import NOT_REPRODUCIBLE, identical

import darts.training.restarts as divergence
from darts.recipes.search import Search

DATA = ("dataset.samples=48", "loader.workers=0", "collapse.every=0")
DIVERGING = (
    *(*DATA, "space=mlp", "space.normalization=none", "epochs=3", "loader.batch_size=4"),
    *("optimizer.lr=10", "optimizer.clip=0"),
)
CELLS = (*DATA, "space.channels=4", "space.cells=1", "loader.batch_size=8", "seed=7")


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return commands.run("search", tmp_path_factory.mktemp("restarted") / "run", *DIVERGING)


def test_a_search_that_diverges_restarts_at_a_lower_rate(restarted: Any) -> None:
    done = restarted
    count = done.result["restarts"]
    assert count == done.checkpoint["restarts"] > 0
    assert done.out.count("at 0.3 times the learning rate") == count
    assert [row["epoch"] for row in done.rows] == [1, 2, 3]
    assert done.rows[0]["lr"] == pytest.approx(0.3**count * 10)
    assert all(math.isfinite(row["train_loss"]) for row in done.rows)
    assert not (done.directory / "diverged.json").exists()


def test_a_restarted_search_that_is_killed_continues_with_the_same_result(
    restarted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, killed = Search.train_step, False

    def crash(self: Search, batch: Any) -> Any:
        nonlocal killed
        if self.state.restarts == 1 and not killed:
            killed = True
            raise RuntimeError("killed")
        return original(self, batch)

    monkeypatch.setattr(Search, "train_step", crash)
    with pytest.raises(RuntimeError, match="killed"):
        commands.run("search", tmp_path / "run", *DIVERGING)
    done = commands.call("search", [f"resume={tmp_path / 'run'}"], tmp_path / "run")
    assert killed
    commands.assert_same_run(done, restarted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "epoch"),
    [
        (("epochs=3",), 1),
        # The epoch begins a stage with wider channels and fewer candidates.
        (("method=drnas", "epochs=4", "arch_optimizer.warmup=0"), 2),
        # The epoch begins a stage with a deeper network and new weights.
        (("method=p_darts", "epochs=3", "arch_optimizer.warmup=0", "space.cells=1"), 1),
        # An operation may be frozen within the epoch.
        (("method=oles", "epochs=3", "freezing.window=4"), 1),
    ],
)
def test_a_restart_restores_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], epoch: int
) -> None:
    """Without a lower rate, a search whose weights became NaN ends like one without the failure."""
    whole = commands.run("search", tmp_path / "whole", *CELLS, *overrides)
    original, failed = Search.train_step, False

    def fail(self: Search, batch: Any) -> Any:
        nonlocal failed
        report = original(self, batch)
        last = len(self.state.train_loader) - 1
        if (self.state.epoch, self.state.step) == (epoch, last) and not failed:
            failed = True
            with torch.no_grad():
                for parameter in self.searcher.net.parameters():
                    parameter.fill_(math.nan)
        return report

    monkeypatch.setattr(Search, "train_step", fail)
    monkeypatch.setattr(divergence, "RESTART_FACTOR", 1.0)
    done = commands.run("search", tmp_path / "run", *CELLS, *overrides)
    assert failed
    assert f"the weights became infinite or NaN in epoch {epoch + 1}" in done.out
    saved, expected = done.checkpoint, whole.checkpoint
    assert (saved["restarts"], expected["restarts"]) == (1, 0)
    for key in saved.keys() - NOT_REPRODUCIBLE - {"restarts"}:
        assert identical(saved[key], expected[key]), key
    assert commands.rows_without_costs(done) == commands.rows_without_costs(whole)
