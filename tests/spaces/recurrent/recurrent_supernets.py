"""The oracle and the fast supernet of the recurrent space with equal weights, and batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from oracles.recurrent_supernet import EdgewiseSupernet
from torch import Tensor, nn

from darts.spaces.recurrent import DropoutRates, Supernet

SMALL: dict[str, Any] = {"vocab_size": 7, "embedding": 5, "hidden": 5, "nodes": 3}
WITH_DROPOUT = DropoutRates(word=0.2, embedding=0.3, input=0.4, hidden=0.3, output=0.4)


class Pair(NamedTuple):
    """The oracle and the fast supernet."""

    oracle: EdgewiseSupernet
    fast: Supernet


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


def make_pair(**options: Any) -> Pair:
    return Pair(make(EdgewiseSupernet, **options), make(Supernet, **options))


def batch(seed: int = 1, steps: int = 4, size: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SMALL["vocab_size"], (steps + 1, size), generator=draw)
    hidden = torch.randn(size, SMALL["hidden"], generator=draw, dtype=torch.float64)
    return Batch(tokens[:-1], tokens[1:], hidden)


def loss_of(net: Any, data: Batch, *weights: Any) -> Tensor:
    """Return a loss that depends on every output: cross-entropy and activation regularization."""
    out = net(data.tokens, *weights, hidden=data.hidden)
    entropy = F.cross_entropy(out.logits.flatten(0, 1), data.targets.flatten())
    change = (out.raw[1:] - out.raw[:-1]).square().mean()
    return entropy + change + out.dropped.square().mean() + out.hidden.square().mean()
