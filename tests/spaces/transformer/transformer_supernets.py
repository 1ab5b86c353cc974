"""The oracle and the fast supernet of the transformer space with equal weights, and texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from oracles.transformer_supernet import EdgewiseSupernet
from torch import Tensor, nn

from darts.data.words import PADDING
from darts.spaces.transformer import ModelConfig, Supernet

WORDS, CLASSES = 11, 3
TASKS: dict[str, dict[str, int]] = {
    "language": {"vocab_size": WORDS},
    "classifier": {"vocab_size": WORDS, "classes": CLASSES},
}


class Batch(NamedTuple):
    """Texts ``(T, B)`` and their targets: tokens ``(T, B)`` or classes ``(B,)``."""

    tokens: Tensor
    targets: Tensor


def randomized(net: Any) -> Any:
    """Return the network in float64 with noise on all weights, so that none is 0 or 1."""
    with torch.no_grad():
        for name, weight in net.named_parameters():
            noise = torch.randn_like(weight)
            # Attention is far from uniform, but not concentrated on one word.
            scale = 0.2 if weight.ndim == 1 and not name.startswith("alphas") else 0.5
            weight.copy_(weight + scale * noise)
    return net.double()


def make_pair(task: str, cells: int = 2, **sizes: Any) -> list[Any]:
    """Return both supernets with seeded weights and large alphas."""
    pair = []
    for kind in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        pair.append(randomized(kind(**TASKS[task], cells=cells, config=ModelConfig(8, **sizes))))
        nn.init.normal_(pair[-1].alphas["mixer"])
        nn.init.normal_(pair[-1].alphas["feed_forward"])
    return pair


def texts(*lengths: int, seed: int = 1) -> Tensor:
    """Return random texts with padding, ``(max(lengths), B)``."""
    draw = torch.Generator().manual_seed(seed)
    columns = torch.full((max(lengths), len(lengths)), PADDING)
    for number, length in enumerate(lengths):
        columns[:length, number] = torch.randint(PADDING + 1, WORDS, (length,), generator=draw)
    return columns


def batch(task: str, seed: int = 1) -> Batch:
    if task == "language":
        draw = torch.Generator().manual_seed(seed)
        tokens = torch.randint(WORDS, (6, 3), generator=draw)
        return Batch(tokens[:-1], tokens[1:])
    return Batch(texts(9, 1, 6, 4, seed=seed), (torch.arange(4) + seed) % CLASSES)


def loss_of(net: Any, data: Batch) -> Tensor:
    """Return the cross-entropy, for language models with activation regularization."""
    out = net(data.tokens)
    if isinstance(out, Tensor):
        return F.cross_entropy(out, data.targets)
    entropy = F.cross_entropy(out.logits.flatten(0, 1), data.targets.flatten())
    change = (out.raw[1:] - out.raw[:-1]).square().mean()
    return entropy + change + out.dropped.square().mean()
