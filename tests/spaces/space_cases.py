"""Small instances of every space, with batches and sizes, for tests of all spaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tiny_pretrained
import torch
from torch import Tensor, nn

import darts
from darts.spaces import SPACES, parse_genotype
from darts.spaces.cnn.candidates import CANDIDATE_SETS
from darts.spaces.macro.skeleton import SKELETONS
from darts.spaces.pretrained import Pretrained

CLASSES, WORDS = 4, 11
IMAGE = (2, 9, 8)


class OwnModel(nn.Module):
    """A model for the space ``module``: two choices of their own, one of them nested."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(IMAGE[0], 4, 3, padding=1)
        convs = {f"conv{size}": nn.Conv2d(4, 4, size, padding=size // 2) for size in (1, 3)}
        self.first = darts.Choice(convs)
        inner = darts.Choice({"tanh": nn.Tanh(), "gelu": nn.GELU(), "skip": nn.Identity()})
        self.second = darts.Choice({"inner": inner, "conv": nn.Conv2d(4, 4, 1)})
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.stem(x))).mean((2, 3)))


@dataclass(frozen=True)
class Case:
    """A space and the data that its networks accept.

    Attributes:
        sizes: Arguments of supernets and networks.
        kind: Kind of the samples: "images" or "tokens".
        image: Shape of a sample.
    """

    space: Any
    sizes: Mapping[str, int]
    kind: str = "images"
    image: tuple[int, int, int] = IMAGE

    def batch(self, size: int = 4, seed: int = 1) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        if self.kind == "tokens":
            return torch.randint(1, WORDS, (6, size), generator=draw)
        return torch.randn(size, *self.image, generator=draw, dtype=torch.float64)

    def supernet(self) -> Any:
        """Return a supernet in float64 with seeded weights and alphas far from uniform."""
        torch.manual_seed(0)
        net = self.space.supernet(**self.sizes).double()
        for alpha in net.alphas.values():
            nn.init.normal_(alpha)
        return net

    def network(self, genotype: Any) -> Any:
        torch.manual_seed(0)
        return self.space.network(genotype, **self.sizes).double()

    def random(self, seed: int = 0) -> Any:
        return self.space.random(torch.Generator().manual_seed(seed))


def one_line(error: BaseException) -> str:
    """Return the message of an error after checking that it is one line of moderate length."""
    message = str(error)
    assert message.splitlines() == [message]
    assert len(message) < 600
    return message


def parse_or_one_line(text: str, parse: Callable[[str], Any] = parse_genotype) -> Any:
    """Return the genotype, or None after checking that the ``ValueError`` has one line."""
    try:
        return parse(text)
    except ValueError as error:
        caught = error
    assert type(caught) is ValueError
    one_line(caught)
    return None


def outputs(net: nn.Module, *inputs: Any) -> Tensor:
    """Return the logits of a classifier or a language model."""
    out = net(*inputs)
    return getattr(out, "logits", out)


def _images(name: str, **options: Any) -> Case:
    space = SPACES[name](**options)
    channels = math.prod(IMAGE) if name == "mlp" else IMAGE[0]
    return Case(space, {"classes": CLASSES, "in_channels": channels})


def _tokens(name: str, classes: int | None = None, **options: Any) -> Case:
    sizes = {"vocab_size": WORDS} if classes is None else {"vocab_size": WORDS, "classes": classes}
    return Case(SPACES[name](**options), sizes, "tokens")


_NO_DROPOUT = {f"{place}_dropout": 0.0 for place in ("embedding", "input", "hidden", "output")}
_TEXT = {"cells": 2, "hidden": 8, "dropout": 0.0, "length": 6}

CASES: dict[str, Case] = {
    "cnn": _images("cnn", channels=2, cells=3),
    **{
        f"cnn-{name}": _images("cnn", channels=2, cells=2, candidates=name)
        for name in CANDIDATE_SETS
        if name not in ("all", "s4")  # s4 draws noise
    },
    "cnn-imagenet": _images("cnn", channels=2, cells=2, stem="imagenet"),
    "nas201": _images("nas201", channels=2, cells=1),
    "nas201-list": _images(
        "nas201", channels=2, cells=1, candidates=["nor_conv_3x3", "skip_connect", "none"]
    ),
    **{f"macro-{s}": _images("macro", channels=2, cells=2, skeleton=s) for s in SKELETONS},
    "macro-list": _images(
        "macro", channels=2, cells=2, candidates=["mb_k3_e3", "mb_k5_e6", "skip_connect"]
    ),
    "elastic": _images("elastic", channels=3, widths=[50, 100], expansions=[100, 40]),
    "elastic-kernels": _images("elastic", channels=3, cells=1, widths=[100], kernels=[3, 7, 5]),
    "mlp": _images("mlp", cells=3, widths=[4, 2], activations=["relu", "tanh"]),
    "mlp-layer": _images("mlp", cells=2, widths=[4, 2], normalization="layer"),
    "mlp-periodic": _images("mlp", cells=2, widths=[4, 2], embedding="periodic"),
    "module": _images("module", target="space_cases:OwnModel"),
    "pretrained": Case(
        Pretrained(weights=tiny_pretrained.NAME),
        {"classes": CLASSES, "in_channels": 1},
        image=(1, *IMAGE[1:]),
    ),
    "transformer": _tokens("transformer", **_TEXT),
    "transformer-texts": _tokens("transformer", CLASSES, **_TEXT),
    "transformer-list": _tokens(
        "transformer", **_TEXT, candidates=["conv_3", "identity", "relu_1", "gelu_4"]
    ),
    "recurrent": _tokens("recurrent", nodes=3, embedding=5, hidden=5, **_NO_DROPOUT),
    "recurrent-list": _tokens(
        "recurrent", nodes=3, embedding=5, hidden=4, tied=False, **_NO_DROPOUT,
        candidates=["none", "tanh", "identity"],
    ),
}  # fmt: skip

ONE_PER_SPACE = ["cnn", "nas201", "macro-standard", "elastic", "mlp", "module", "pretrained"]
ONE_PER_SPACE += ["transformer", "recurrent"]
assert {CASES[name].space.name for name in ONE_PER_SPACE} == set(SPACES)
