"""Loss functions of the user's own, and networks of genotypes without a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
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


PLAIN = json.dumps({"space": "macro", "blocks": ["conv_3x3", "skip_connect"] * 3})


@pytest.mark.parametrize(
    ("genotype", "size"),
    [
        ('{"space": "mlp", "layers": ["relu_16"]}', 1),
        ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|", 8),
        (PLAIN, 8),
    ],
)
def test_other_spaces(genotype: str, size: int) -> None:
    sizes: dict[str, object] = {"skeleton": "plain"} if "macro" in genotype else {}
    net = darts.create_model(genotype, classes=3, in_channels=5, **sizes).eval()
    assert net(torch.zeros(2, 5, size, size)).shape == (2, 3)


@pytest.mark.parametrize(
    ("genotype", "sizes", "message"),
    [
        ("DARTS_V2", {"chanels": 3}, "did you mean 'space.channels'"),
        ("DARTS_V2", {"classes": "ten"}, "classes='ten': must be an integer >= 1"),
        ("DARTS_V2", {"channels": 0}, "space.channels=0: must be >= 1"),
        ("DARTS_RNN_V1", {}, "belongs to space=recurrent"),
    ],
)
def test_wrong_settings_are_one_line(genotype: str, sizes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        darts.create_model(genotype, **sizes)
    assert "\n" not in str(caught.value)
