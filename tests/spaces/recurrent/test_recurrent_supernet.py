"""``MixedCell`` equals the oracle ``EdgewiseCell``."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, HYPERGRADIENTS, assert_same, gradients, hypergradients
from oracles.recurrent_supernet import EdgewiseSupernet
from torch import Tensor, nn

from darts.spaces.recurrent import DropoutRates
from darts.spaces.recurrent.supernet import Supernet

SMALL: dict[str, Any] = {"vocab_size": 7, "embedding": 5, "hidden": 5, "nodes": 3}
WITH_DROPOUT = DropoutRates(word=0.2, embedding=0.3, input=0.4, hidden=0.3, output=0.4)


class Batch(NamedTuple):
    """Tokens ``(T, B)``, their targets ``(T, B)``, and the initial hidden state ``(B, H)``."""

    tokens: Tensor
    targets: Tensor
    hidden: Tensor


def make(supernet_class: Any, **options: Any) -> Any:
    """Return a float64 supernet with large seeded weights and alphas."""
    torch.manual_seed(0)
    net = supernet_class(**SMALL | options)
    nn.init.normal_(net.alphas["recurrent"])  # distinct rows, so that swapped rows are detected
    with torch.no_grad():
        for weight in net.weight_parameters():
            weight.mul_(20)  # so that gates saturate
    return net.double()


def batch(seed: int = 1, steps: int = 4, size: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SMALL["vocab_size"], (steps + 1, size), generator=draw)
    hidden = torch.randn(size, SMALL["hidden"], generator=draw, dtype=torch.float64)
    return Batch(tokens[:-1], tokens[1:], hidden)


def loss_of(net: Any, data: Batch) -> Tensor:
    """Return a loss that depends on every output: cross-entropy and activation regularization."""
    out = net(data.tokens, hidden=data.hidden)
    entropy = F.cross_entropy(out.logits.flatten(0, 1), data.targets.flatten())
    change = (out.raw[1:] - out.raw[:-1]).square().mean()
    return entropy + change + out.dropped.square().mean() + out.hidden.square().mean()


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropouts": WITH_DROPOUT},
    "one node": {"nodes": 1},
    "eight nodes": {"nodes": 8},
    "untied": {"embedding": 3, "tied": False},
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_outputs_gradients_and_running_statistics_equal_the_oracle(
    options: dict[str, Any], training: bool
) -> None:
    oracle, fast = make(EdgewiseSupernet, **options), make(Supernet, **options)
    actual = []
    for net in (oracle, fast):
        if not training:  # change the running statistics first
            torch.manual_seed(2)
            net(batch(2).tokens)
        net.train(training)
        torch.manual_seed(5)
        loss_of(net, batch()).backward()
        torch.manual_seed(5)
        actual.append(copy.deepcopy(net)(batch().tokens, hidden=batch().hidden)._asdict())
    assert_same(actual[1], actual[0])
    assert_same(gradients(fast), gradients(oracle))
    assert_same(dict(fast.named_buffers()), dict(oracle.named_buffers()))
    updates = int(fast.cell.norm.num_batches_tracked)
    assert updates == 4 * (fast.cell.nodes + 1)  # steps of a sequence times states of a cell


@pytest.mark.parametrize("method", HYPERGRADIENTS)
def test_hypergradients_equal_the_oracle(method: str) -> None:
    nets = [make(kind, dropouts=WITH_DROPOUT) for kind in (EdgewiseSupernet, Supernet)]
    slow, fast = (hypergradients(method, net, loss_of, batch) for net in nets)
    # A finite difference divides the rounding of its two losses by a small number.
    assert_same(fast, slow, **({"rtol": 1e-7, "atol": 1e-9} if "difference" in method else EXACT))
    assert bool((slow["recurrent"][:, 1:] != 0).all())


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
