"""Losses and scores of language models, written out in plain Python."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from darts.data import IGNORE_INDEX, Carry, Window
from darts.tasks import TASKS
from darts.tasks.language_model import LanguageObjective

CPU = torch.device("cpu")


class Said(NamedTuple):
    logits: Tensor
    hidden: Tensor
    raw: Tensor
    dropped: Tensor


DRAW = torch.Generator().manual_seed(0)
SAID = Said(
    torch.randn(4, 3, 7, generator=DRAW, dtype=torch.float64),
    torch.randn(3, 5, generator=DRAW, dtype=torch.float64, requires_grad=True),
    torch.randn(4, 3, 5, generator=DRAW, dtype=torch.float64),
    torch.randn(4, 3, 5, generator=DRAW, dtype=torch.float64),
)
TARGETS = torch.randint(7, (4, 3), generator=DRAW)
TARGETS[3, 1:] = IGNORE_INDEX


def window(state: Tensor | None = None) -> Window:
    carry = Carry()
    carry.state = state
    return Window(torch.zeros(4, 3, dtype=torch.int64), TARGETS, carry)


def nats() -> list[float]:
    losses = []
    for row, target in zip(SAID.logits.flatten(0, 1).tolist(), TARGETS.flatten(), strict=True):
        if target != IGNORE_INDEX:
            losses.append(math.log(sum(math.exp(v) for v in row)) - row[int(target)])
    return losses


def test_the_loss_is_the_mean_over_the_targets_that_there_are() -> None:
    losses = nats()
    assert len(losses) == 10
    batch = window()
    loss, logits = LanguageObjective().supernet_loss(lambda tokens, hidden: SAID, batch)
    assert float(loss) == pytest.approx(sum(losses) / 10, rel=1e-12)
    assert torch.equal(logits, SAID.logits)
    assert LanguageObjective().samples(batch) == 10


def test_activations_are_regularized_as_by_hand() -> None:
    plain, _ = LanguageObjective().supernet_loss(lambda tokens, hidden: SAID, window())
    objective = LanguageObjective(activation=2.0, temporal=3.0)
    loss, _ = objective.supernet_loss(lambda tokens, hidden: SAID, window())
    squares = [v * v for v in SAID.dropped.flatten().tolist()]
    raw = SAID.raw.tolist()
    changes = [
        (raw[t + 1][b][h] - raw[t][b][h]) ** 2 for t in range(3) for b in range(3) for h in range(5)
    ]
    wanted = 2 * sum(squares) / len(squares) + 3 * sum(changes) / len(changes)
    assert float(loss - plain) == pytest.approx(wanted, rel=1e-12)


def test_the_state_is_carried_without_its_gradient() -> None:
    seen = []

    def forward(tokens: Tensor, hidden: Tensor | None) -> Said:
        seen.append(hidden)
        return SAID

    state = torch.ones(3, 5)
    for way in ("supernet_loss", "predict"):
        batch = window(state)
        getattr(LanguageObjective(), way)(forward, batch)
        assert seen[-1] is state
        assert batch.carry.after is not None
        assert not batch.carry.after.requires_grad
        assert torch.equal(batch.carry.after, SAID.hidden)


def test_scores_are_those_of_the_whole_text_in_three_units() -> None:
    scores = LanguageObjective().scores(CPU)
    for row in range(4):  # windows of one token; the last has one target
        scores.update(SAID.logits[row : row + 1], window()._replace(targets=TARGETS[row : row + 1]))
    mean = sum(nats()) / 10
    found = scores.compute()
    assert found["loss"] == pytest.approx(mean, rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(mean), rel=1e-6)
    assert found["bits"] == pytest.approx(mean / math.log(2), rel=1e-6)
    assert not any(TASKS["language_model"].metrics[name].higher_is_better for name in found)


def test_labels_are_smoothed_in_training_of_networks_alone() -> None:
    task = TASKS["language_model"](temporal=0.0)
    objective = task.objective("abcdefg", label_smoothing=0.1)
    smooth, _ = objective.network_loss(lambda tokens, hidden: SAID, window())
    plain, _ = objective.supernet_loss(lambda tokens, hidden: SAID, window())
    keep = TARGETS.flatten() != IGNORE_INDEX
    rows = SAID.logits.flatten(0, 1)[keep].log_softmax(1)
    assert float(smooth) == pytest.approx(0.9 * float(plain) - 0.1 * float(rows.mean()), rel=1e-9)


def test_there_is_no_auxiliary_head() -> None:
    with pytest.raises(ValueError, match="no auxiliary head; set auxiliary=0"):
        TASKS["language_model"]().objective("ab", auxiliary=0.4)
