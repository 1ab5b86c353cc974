"""Losses and scores of language models, compared with plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from darts.data import IGNORE_INDEX, Window
from darts.data.loader import Carry
from darts.spaces.network import LanguageModelOutput
from darts.tasks.task import TASKS, ObjectiveSpec

PLAIN = TASKS["language_model"](temporal=0.0).make_objective(ObjectiveSpec(tuple("abcdefg")))

DRAW = torch.Generator().manual_seed(0)
OUTPUT = LanguageModelOutput(
    torch.randn(4, 3, 7, generator=DRAW, dtype=torch.float64),
    torch.randn(3, 5, generator=DRAW, dtype=torch.float64, requires_grad=True),
    torch.randn(4, 3, 5, generator=DRAW, dtype=torch.float64),
    torch.randn(4, 3, 5, generator=DRAW, dtype=torch.float64),
)
TARGETS = torch.randint(7, (4, 3), generator=DRAW)
TARGETS[3, 1:] = IGNORE_INDEX


def window(state: Tensor | None = None) -> Window:
    count = int((TARGETS != IGNORE_INDEX).sum())
    return Window(torch.zeros(4, 3, dtype=torch.int64), TARGETS, Carry(state), count)


def target_losses() -> list[float]:
    """Return the cross entropy in nats of each target, computed value by value."""
    losses = []
    for row, target in zip(OUTPUT.logits.flatten(0, 1).tolist(), TARGETS.flatten(), strict=True):
        if target != IGNORE_INDEX:
            losses.append(math.log(sum(math.exp(v) for v in row)) - row[int(target)])
    return losses


def test_the_loss_is_the_mean_over_all_targets() -> None:
    losses = target_losses()
    assert len(losses) == 10
    batch = window()
    loss, logits = PLAIN.supernet_loss(lambda tokens, hidden: OUTPUT, batch)
    assert float(loss) == pytest.approx(sum(losses) / 10, rel=1e-12)
    assert torch.equal(logits, OUTPUT.logits)
    assert PLAIN.num_samples(batch) == 10


def test_activation_regularization_equals_its_definition() -> None:
    plain, _ = PLAIN.supernet_loss(lambda tokens, hidden: OUTPUT, window())
    objective = TASKS["language_model"](activation=2.0, temporal=3.0).make_objective(
        ObjectiveSpec(tuple("abcdefg"))
    )
    loss, _ = objective.supernet_loss(lambda tokens, hidden: OUTPUT, window())
    squares = [v * v for v in OUTPUT.dropped.flatten().tolist()]
    raw = OUTPUT.raw.tolist()
    changes = [
        (raw[t + 1][b][h] - raw[t][b][h]) ** 2 for t in range(3) for b in range(3) for h in range(5)
    ]
    expected = 2 * sum(squares) / len(squares) + 3 * sum(changes) / len(changes)
    assert float(loss - plain) == pytest.approx(expected, rel=1e-12)
    # The alphas minimize the plain likelihood, as in the authors' code.
    assert objective.alpha_loss(lambda tokens, hidden: OUTPUT, window()) == plain


def test_the_state_is_passed_on_without_its_gradient() -> None:
    states = []

    def forward(tokens: Tensor, hidden: Tensor | None) -> LanguageModelOutput:
        states.append(hidden)
        return OUTPUT

    state = torch.ones(3, 5)
    for method in ("supernet_loss", "predict"):
        batch = window(state)
        getattr(PLAIN, method)(forward, batch)
        assert states[-1] is state
        assert not batch.carry.after.requires_grad
        assert torch.equal(batch.carry.after, OUTPUT.hidden)


def test_scores_of_windows_equal_those_of_the_whole_text() -> None:
    scores = PLAIN.scores()
    for row in range(4):  # windows of one token; the last has one target
        scores.update(
            OUTPUT.logits[row : row + 1], window()._replace(targets=TARGETS[row : row + 1])
        )
    mean = sum(target_losses()) / 10
    actual = scores.compute()
    assert actual["loss"] == pytest.approx(mean, rel=1e-6)
    assert actual["perplexity"] == pytest.approx(math.exp(mean), rel=1e-6)
    assert actual["bits"] == pytest.approx(mean / math.log(2), rel=1e-6)
    assert not any(TASKS["language_model"].metrics[name].higher_is_better for name in actual)


def test_labels_are_smoothed_for_networks_but_not_for_supernets() -> None:
    task = TASKS["language_model"](temporal=0.0)
    objective = task.make_objective(ObjectiveSpec(tuple("abcdefg"), label_smoothing=0.1))
    smooth, _ = objective.network_loss(lambda tokens, hidden: OUTPUT, window())
    plain, _ = objective.supernet_loss(lambda tokens, hidden: OUTPUT, window())
    keep = TARGETS.flatten() != IGNORE_INDEX
    rows = OUTPUT.logits.flatten(0, 1)[keep].log_softmax(1)
    assert float(smooth) == pytest.approx(0.9 * float(plain) - 0.1 * float(rows.mean()), rel=1e-9)
