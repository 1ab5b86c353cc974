"""The supernets of the transformer space equal their oracles."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from oracles.comparing import EXACT, HYPERGRADIENTS, assert_same, gradients, hypergradients
from torch import Tensor
from transformer_supernets import TASKS, Batch, batch, loss_of, make_pair

from darts.data.words import PADDING

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "learned positions": {"positions": "learned", "max_length": 9},
    "one block": {"cells": 1},
}
both_tasks = pytest.mark.parametrize("task", TASKS)


def outputs(net: Any, data: Batch) -> dict[str, Tensor]:
    torch.manual_seed(5)
    out = net(data.tokens)
    return {"logits": out} if isinstance(out, Tensor) else out._asdict()


def backward(net: Any, data: Batch) -> None:
    torch.manual_seed(5)
    loss_of(net, data).backward()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@both_tasks
def test_outputs_and_gradients_equal_the_oracle(
    task: str, options: dict[str, Any], training: bool
) -> None:
    oracle, fast = make_pair(task, **options)
    assert_same(fast.state_dict(), oracle.state_dict())
    for net in (oracle, fast):
        net.train(training)
        backward(net, batch(task))
    assert_same(outputs(fast, batch(task)), outputs(oracle, batch(task)))
    assert_same(gradients(fast), gradients(oracle))
    for name, gradient in gradients(fast).items():
        assert bool(gradient.any()), name


@pytest.mark.parametrize("method", HYPERGRADIENTS)
@both_tasks
def test_hypergradients_equal_the_oracle(task: str, method: str) -> None:
    nets = make_pair(task, dropout=0.3)
    slow, fast = (hypergradients(method, net, loss_of, partial(batch, task)) for net in nets)
    # A finite difference divides the rounding of its two losses by a small number.
    assert_same(fast, slow, **({"rtol": 1e-6, "atol": 1e-8} if "difference" in method else EXACT))
    assert all(bool(gradient.all()) for gradient in fast.values())


def test_an_empty_text_gives_finite_logits_and_gradients() -> None:
    net = make_pair("classifier")[1]
    tokens = torch.full((4, 2), PADDING)
    tokens[:2, 0] = 5
    logits = net(tokens)
    assert bool(logits.isfinite().all())
    torch.testing.assert_close(logits[1], net.frame.classifier.bias, **EXACT)
    logits.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())
