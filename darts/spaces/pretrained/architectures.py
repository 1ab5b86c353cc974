"""Networks that have trained weights: their classifier, and the stages that can be shorter.

A network is one of ``NETWORKS`` or a classification model of ``torchvision.models``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from darts.reading import one_line
from darts.spaces.module.choice import Repeat
from darts.spaces.pretrained.lite0 import EfficientNetLite0

# The networks of this package, classes like `EfficientNetLite0`, by name.
NETWORKS: dict[str, Any] = {"efficientnet_lite0": EfficientNetLite0}

SIDE = 64  # of the images on which the shapes of a network are measured


class Structure(NamedTuple):
    """Parts of a network: paths, and the number of inputs of the last linear layer."""

    classifier: str
    features: int
    # Consecutive blocks whose output has the shape of their input.
    stages: tuple[tuple[str, ...], ...]


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
            blocks = dict(_blocks(net))
            for path in blocks:
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
    stages: list[tuple[str, ...]] = []
    for path, before in blocks.items():
        if path in same:
            stages.append((*stages.pop(), path) if before in same else (path,))
    return Structure(classifier, last.in_features, tuple(stages))


def _blocks(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the paths of modules with parts in an ``nn.Sequential``, but not inside of them.

    The second string of each pair is the path of the module before it in the ``nn.Sequential``, or
    empty for the first one.
    """
    before = ""
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if type(child) is nn.Sequential:
            yield from _blocks(child, f"{path}.")
        elif type(module) is nn.Sequential and [*child.children()]:
            yield path, before
        before = path


def make_backbone(name: str) -> nn.Module:
    """Return a network with random weights, without its classifier; its stages are choices.

    A stage keeps its first blocks; a search finds out how many.

    Shape: ``(B, 3, H, W)`` -> ``(B, features)``.
    """
    net, parts = make(name), structure(name)
    net.set_submodule(parts.classifier, nn.Identity())
    for number, paths in enumerate(parts.stages):
        blocks = iter([net.get_submodule(path) for path in paths])
        stage = Repeat(blocks.__next__, min=0, max=len(paths), key=f"stage{number}")
        net.set_submodule(paths[0], stage)
        for path in paths[1:]:
            parent, _, child = path.rpartition(".")
            delattr(net.get_submodule(parent), child)
    return net


def published_key(key: str, stages: tuple[tuple[str, ...], ...]) -> str:
    """Return the name in the published state dict of a weight of ``make_backbone``.

    The choices of the backbone may have been made.
    """
    for paths in stages:
        found = re.fullmatch(rf"{re.escape(paths[0])}\.(?:blocks\.)?(\d+)\.(.+)", key)
        if found:
            return f"{paths[int(found[1])]}.{found[2]}"
    return key
