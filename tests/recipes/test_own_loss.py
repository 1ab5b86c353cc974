"""A loss function of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

import darts

SMALL = [
    "dataset.samples=64", "space.channels=4", "space.cells=2", "tracking.figures=false",
    "tracking.tensorboard=false",
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("cwd")


def search(out: str, loss: Any) -> Any:
    return darts.search(data="synthetic", epochs=2, out=out, loss=loss, overrides=SMALL)


def scores(run: Any) -> list[tuple[float, float]]:
    return [(row["train_loss"], row["valid_loss"]) for row in run.history]


def test_the_cross_entropy_as_own_loss_changes_no_bit() -> None:
    assert scores(search("a", nn.CrossEntropyLoss())) == scores(search("b", None))


@pytest.mark.slow
def test_search_and_retraining_minimize_it() -> None:
    """Labels are inverted for the loss, so the network learns the opposite."""
    calls = 0

    def opposite(logits: Tensor, labels: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return F.cross_entropy(-logits, labels)

    run = search("a", opposite)
    assert calls >= 2 * run.summary["epochs"]
    before = calls
    more = ["auxiliary=0", "optimizer.lr=0.05", "loader.batch_size=16", *SMALL]
    trained = darts.retrain(run, epochs=8, out="c", overrides=more)
    assert calls > before
    usual = darts.retrain(run.genotype, "synthetic", epochs=8, out="d", overrides=more)
    assert trained.summary["test_accuracy"] < 0.2 < usual.summary["test_accuracy"]


def test_a_run_directory_does_not_hold_the_function() -> None:
    search("a", nn.CrossEntropyLoss())
    assert "loss: own" in Path("a/config.yaml").read_text()
    with pytest.raises(ValueError, match="pass the function to"):
        darts.search(resume="a")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda logits, labels: logits, "the loss returns .*; it must return a scalar tensor"),
        (lambda logits, labels: 3.0, "the loss returns float; it must return a scalar tensor"),
        ("mse", "loss='mse': must be a function"),
    ],
)
def test_wrong_losses_end_in_one_line(loss: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        search("a", loss)
    assert len(str(caught.value).splitlines()) == 1
