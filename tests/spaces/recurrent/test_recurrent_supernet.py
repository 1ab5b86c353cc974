"""``MixedCell`` equals the oracle ``EdgewiseCell``."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from oracles.comparing import EXACT, assert_same, gradients
from recurrent_supernets import WITH_DROPOUT, batch, loss_of, make, make_pair
from torch.optim import SGD

from darts.methods.bilevel import first_order, unrolled
from darts.spaces import Mixture
from darts.spaces.recurrent import DropoutRates, Supernet

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropouts": WITH_DROPOUT},
    "one node": {"nodes": 1},
    "eight nodes": {"nodes": 8},
    "untied": {"embedding": 3, "tied": False},
}
HYPERGRADIENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "first_order": (first_order, {}),
    "finite_difference": (unrolled, {"hvp": "finite_difference"}),
    "exact": (unrolled, {"hvp": "exact"}),
}


def run(net: Any, seed: int = 5) -> Any:
    """Return the outputs for a seed, and leave the gradients of the loss in the network."""
    torch.manual_seed(seed)
    loss_of(net, batch()).backward()
    torch.manual_seed(seed)
    return copy.deepcopy(net)(batch().tokens, hidden=batch().hidden)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_outputs_gradients_and_running_statistics_equal_the_oracle(
    options: dict[str, Any], training: bool
) -> None:
    pair = make_pair(**options)
    actual = []
    for net in pair:
        if not training:  # change the running statistics first
            torch.manual_seed(2)
            net(batch(2).tokens)
        net.train(training)
        actual.append(run(net)._asdict())
    assert_same(actual[1], actual[0])
    assert_same(gradients(pair.fast), gradients(pair.oracle))
    assert_same(dict(pair.fast.named_buffers()), dict(pair.oracle.named_buffers()))
    nodes = pair.fast.cell.nodes
    updates = int(pair.fast.cell.norm.num_batches_tracked)
    assert updates == 4 * (nodes + 1)  # steps of a sequence times states of a cell


def masks() -> dict[str, list[list[int]]]:
    """Return masks of the active candidates, 5 columns for each of 6 edges, by description."""
    one = [[edge == number for number in range(5)] for edge in (1, 0, 4, 2, 1, 3)]
    node_without = [
        [True] * 5,
        [False] * 5,
        [True] + [False] * 4,
        *[[False, True] + [True] * 3] * 3,
    ]
    some = [[(edge + number) % 2 == 0 for number in range(5)] for edge in range(6)]
    return {"one per edge": one, "a node without edges": node_without, "some": some}


@pytest.mark.parametrize("mask", masks().values(), ids=masks())
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_inactive_candidates_do_not_contribute(mask: list[list[int]], training: bool) -> None:
    pair = make_pair(dropouts=WITH_DROPOUT)
    active = torch.tensor(mask)
    outputs, weight_gradients = [], []
    for net in pair:
        net.train(training)
        weights = net.alphas["recurrent"].detach().softmax(-1).requires_grad_()
        mixture = Mixture({"recurrent": weights}, active={"recurrent": active})
        torch.manual_seed(3)
        loss_of(net, batch(), mixture).backward()
        torch.manual_seed(3)
        outputs.append(net(batch().tokens, mixture)._asdict())
        weight_gradients.append(weights.grad)
    assert_same(outputs[1], outputs[0])
    torch.testing.assert_close(weight_gradients[1], weight_gradients[0], **EXACT)
    assert_same(gradients(pair.fast), gradients(pair.oracle))


def trained(net: Any) -> SGD:
    """Take two steps, so that momentum buffers exist and running statistics have changed."""
    optimizer = SGD(net.weight_parameters(), lr=0.05, momentum=0.9, weight_decay=3e-3)
    for seed in (11, 12):
        net.zero_grad()
        torch.manual_seed(seed)
        loss_of(net, batch(seed)).backward()
        optimizer.step()
    net.zero_grad()
    return optimizer


@pytest.mark.parametrize(  # dropout is the stricter case: both cells must draw the same masks
    "dropouts",
    [pytest.param(DropoutRates(), marks=pytest.mark.slow), WITH_DROPOUT],
    ids=["plain", "dropout"],
)
@pytest.mark.parametrize("name", HYPERGRADIENTS)
def test_hypergradients_equal_the_oracle(name: str, dropouts: DropoutRates) -> None:
    gradient, options = HYPERGRADIENTS[name]
    actual = []
    for net in make_pair(dropouts=dropouts):
        optimizer = trained(net)
        before = copy.deepcopy(net.state_dict())
        torch.manual_seed(7)
        actual.append(gradient(net, loss_of, batch(1), batch(2), optimizer, **options))
        assert_same(net.state_dict(), before)  # unchanged, running statistics included
    assert actual[0]["recurrent"].shape == (6, 5)
    # A finite difference divides the rounding of its two losses by a small number.
    exact = EXACT if name != "finite_difference" else {"rtol": 1e-7, "atol": 1e-9}
    torch.testing.assert_close(actual[1]["recurrent"], actual[0]["recurrent"], **exact)
    assert bool((actual[0]["recurrent"][:, 1:] != 0).all())


def test_the_default_supernet_has_the_published_size() -> None:
    """300 units, 10,000 words, 36 edges with 5 candidates."""
    net = Supernet(10_000)
    weights = 10_000 * 300 + 10_000 + 600 * 600 + 8 * 300 * 600
    assert sum(weight.numel() for weight in net.weight_parameters()) == weights
    assert net.candidates["recurrent"] == (("none", "tanh", "relu", "sigmoid", "identity"),) * 36
    assert net.edges["recurrent"][:6] == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert net.edges["recurrent"][-1] == (7, 8)
    for weight in net.weight_parameters():
        assert float(weight.detach().abs().max()) <= 0.04
    assert float(net.words.bias.detach().abs().max()) == 0


def test_invalid_arguments_are_rejected_in_one_line() -> None:
    net = make(Supernet)
    data = batch()
    cases: list[tuple[Any, str]] = [
        (lambda: net(data.tokens[0]), r"tokens must be \(T, B\), got \(6,\)"),
        (
            lambda: net(data.tokens, hidden=data.hidden[:2]),
            r"hidden must be \(6, 5\), got \(2, 5\)",
        ),
        (lambda: Supernet(7, embedding=3, hidden=4), "tied=false"),
        (
            lambda: Supernet(7, dropouts=DropoutRates(weight=0.5)),
            "weight_dropout=0.5: .* does not support weight dropout",
        ),
        (lambda: DropoutRates(hidden=1.0), r"space\.hidden_dropout=1\.0: must be >= 0 and < 1"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
