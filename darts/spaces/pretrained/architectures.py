"""Networks that have trained weights: their classifier, and the blocks that they can do without.

A network is one of ``NETWORKS`` or a classification model of ``torchvision.models``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from darts.reading import one_line
from darts.spaces.module.choice import Choice
from darts.spaces.pretrained.lite0 import EfficientNetLite0

NETWORKS: dict[str, Any] = {"efficientnet_lite0": EfficientNetLite0}
"""The networks of this package, classes like ``EfficientNetLite0``, by name."""

SIDE = 64  # of the images on which the shapes of a network are measured


class Structure(NamedTuple):
    """Parts of a network: paths, and the number of inputs of the last linear layer."""

    classifier: str
    features: int
    blocks: tuple[str, ...]  # whose output has the shape of their input


def make(name: str) -> nn.Module:
    """Return a network with random weights."""
    from torchvision import models

    net: nn.Module = NETWORKS[name]() if name in NETWORKS else getattr(models, name)(weights=None)
    return net


@cache
def structure(name: str) -> Structure:
    """Return the parts of a network; no memory is allocated for its weights."""
    same: list[str] = []

    def record(path: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if inputs[0].shape == output.shape:
            same.append(path)

    try:
        with torch.device("meta"):
            net = make(name)
            linear = {path: m for path, m in net.named_modules() if isinstance(m, nn.Linear)}
            classifier, last = linear.popitem()
            net.set_submodule(classifier, nn.Identity())
            for path in _blocks(net):
                net.get_submodule(path).register_forward_hook(partial(record, path))
            shape = net(torch.zeros(2, 3, SIDE, SIDE)).shape
        if shape != (2, last.in_features):
            raise RuntimeError(f"its features have shape {tuple(shape)}")
    except Exception as error:  # a network that is of another kind may raise anything
        raise ValueError(
            f"space.weights={name}: must be a network of torchvision.models that accepts images of "
            f"any size and ends in a linear classifier, or {', '.join(NETWORKS)} "
            f"({one_line(error, 100)})"
        ) from None
    return Structure(classifier, last.in_features, tuple(same))


def _blocks(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Yield the paths of modules with parts in an ``nn.Sequential``, but not inside of them."""
    for name, child in module.named_children():
        if type(child) is nn.Sequential:
            yield from _blocks(child, f"{prefix}{name}.")
        elif type(module) is nn.Sequential and [*child.children()]:
            yield f"{prefix}{name}"


def make_backbone(name: str) -> nn.Module:
    """Return a network with random weights and without its classifier, whose blocks are choices.

    Shape: ``(B, 3, H, W)`` -> ``(B, features)``.
    """
    net, parts = make(name), structure(name)
    net.set_submodule(parts.classifier, nn.Identity())
    for path in parts.blocks:
        block = net.get_submodule(path)
        net.set_submodule(path, Choice({"block": block, "skip": nn.Identity()}))
    return net
