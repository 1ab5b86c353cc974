"""The edge-wise supernet against a reference implementation of the published description.

The reference implementation reads ``weight_parameters()`` in the published order, so the tests also
check that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import images
from torch import Tensor, nn

from darts.spaces.cnn import PRIMITIVES, EdgewiseSupernet


def make(**options: Any) -> EdgewiseSupernet:
    torch.manual_seed(options.pop("seed", 0))
    net = EdgewiseSupernet(**{"channels": 2, "cells": 3, "classes": 4} | options)
    for alpha in net.alphas.values():  # far from uniform, so that swapped rows change the result
        nn.init.normal_(alpha)
    return net


class ReferenceSupernet:
    """Computes the logits in training mode from a list of weights."""

    def __init__(self, weights: list[nn.Parameter], channels: int, cells: int, stem: str) -> None:
        self.left: Iterator[Tensor] = iter(weights)
        self.channels, self.cells, self.stem = channels, cells, stem

    def take(self, *shape: int) -> Tensor:
        """Return the next weight and check its shape."""
        weight = next(self.left)
        assert weight.shape == shape
        return weight

    @staticmethod
    def norm(x: Tensor, scale: Tensor | float = 1.0, shift: Tensor | float = 0.0) -> Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def affine_norm(self, x: Tensor) -> Tensor:
        scale, shift = self.take(x.shape[1]), self.take(x.shape[1])
        return self.norm(x, scale[:, None, None], shift[:, None, None])

    def factorized_reduce(self, inputs: int, outputs: int) -> Callable[[Tensor], Tensor]:
        first = self.take(outputs // 2, inputs, 1, 1)
        second = self.take(outputs - outputs // 2, inputs, 1, 1)

        def apply(x: Tensor) -> Tensor:
            height, width = x.shape[2:]
            padded = torch.zeros(
                *x.shape[:2], height + height % 2, width + width % 2, dtype=x.dtype
            )
            padded[:, :, :height, :width] = x.relu()
            halves = [
                F.conv2d(padded[:, :, 0::2, 0::2], first),
                F.conv2d(padded[:, :, 1::2, 1::2], second),
            ]
            return self.norm(torch.cat(halves, 1))

        return apply

    def pointwise(self, inputs: int, outputs: int) -> Callable[[Tensor], Tensor]:
        weight = self.take(outputs, inputs, 1, 1)
        return lambda x: self.norm(F.conv2d(x.relu(), weight))

    def depthwise(
        self, c: int, kernel: int, stride: int, dilation: int
    ) -> Callable[[Tensor], Tensor]:
        deep, point = self.take(c, 1, kernel, kernel), self.take(c, c, 1, 1)
        padding = (kernel - 1) * dilation // 2
        return lambda x: self.norm(
            F.conv2d(F.conv2d(x.relu(), deep, None, stride, padding, dilation, groups=c), point)
        )

    def operation(self, name: str, c: int, stride: int) -> Callable[[Tensor], Tensor]:
        kernel = int(name[-1]) if name[-1].isdigit() else 0
        if name == "none":
            return lambda x: x[:, :, ::stride, ::stride] * 0
        if name == "skip_connect":
            return (lambda x: x) if stride == 1 else self.factorized_reduce(c, c)
        if name == "max_pool_3x3":
            return lambda x: self.norm(F.max_pool2d(x, 3, stride, 1))
        if name == "avg_pool_3x3":
            return lambda x: self.norm(
                F.avg_pool2d(x, 3, stride, 1) / F.avg_pool2d(torch.ones_like(x), 3, stride, 1)
            )
        if name.startswith("dil"):
            return self.depthwise(c, kernel, stride, 2)
        first, second = self.depthwise(c, kernel, stride, 1), self.depthwise(c, kernel, 1, 1)
        return lambda x: second(first(x))

    def run(self, x: Tensor, mixing: dict[str, Tensor], classes: int) -> Tensor:
        c = self.channels
        if self.stem == "small":
            x = self.affine_norm(F.conv2d(x, self.take(3 * c, x.shape[1], 3, 3), padding=1))
            older, newer, widths, halved = x, x, (3 * c, 3 * c), False
        else:
            w = 3 * c
            x = F.conv2d(x, self.take(w // 2, x.shape[1], 3, 3), stride=2, padding=1)
            x = self.affine_norm(x).relu()
            x = F.conv2d(x, self.take(w, w // 2, 3, 3), stride=2, padding=1)
            older = self.affine_norm(x)
            x = F.conv2d(older.relu(), self.take(w, w, 3, 3), stride=2, padding=1)
            newer, widths, halved = self.affine_norm(x), (w, w), True
        for number in range(self.cells):
            reduces = number in (self.cells // 3, 2 * self.cells // 3)
            c = 2 * c if reduces else c
            table = mixing["reduce" if reduces else "normal"]
            bring = self.factorized_reduce if halved else self.pointwise
            prepare = bring(widths[0], c), self.pointwise(widths[1], c)
            states = {0: prepare[0](older), 1: prepare[1](newer)}
            row = 0
            for node in (2, 3, 4, 5):
                total: Tensor | float = 0.0
                for source in range(node):
                    stride = 2 if reduces and source in (0, 1) else 1
                    for column, name in enumerate(PRIMITIVES):
                        apply = self.operation(name, c, stride)
                        if table[row, column] != 0:
                            total = total + table[row, column] * apply(states[source])
                    row += 1
                states[node] = total
            older, newer = newer, torch.cat([states[n] for n in (2, 3, 4, 5)], 1)
            widths, halved = (widths[1], 4 * c), reduces
        pooled = newer.flatten(2).mean(2)
        matrix, bias = self.take(classes, 4 * c), self.take(classes)
        assert next(self.left, None) is None, "unused weights"
        return pooled @ matrix.T + bias


def test_published_number_of_weights() -> None:
    with torch.device("meta"):
        net = EdgewiseSupernet(channels=16, cells=8, classes=10)
    assert sum(weight.numel() for weight in net.weight_parameters()) == 1_930_618
    assert sum(p.numel() for p in net.parameters()) == 1_930_618 + 2 * 14 * 8


@pytest.mark.parametrize(
    ("channels", "cells", "stem", "size"),
    [
        (2, 3, "small", (8, 8)),
        (3, 3, "small", (9, 13)),
        (2, 4, "small", (11, 8)),
        (2, 1, "small", (8, 8)),
        (2, 3, "imagenet", (33, 47)),
    ],
)
def test_logits_match_the_reference_implementation(
    channels: int, cells: int, stem: str, size: tuple[int, int]
) -> None:
    net = make(channels=channels, cells=cells, stem=stem).double()
    x = images(3, 3, *size)
    powers = {kind: alpha.detach().exp() for kind, alpha in net.alphas.items()}
    weights = {kind: power / power.sum(1, keepdim=True) for kind, power in powers.items()}
    with torch.no_grad():
        slow = ReferenceSupernet(net.weight_parameters(), channels=channels, cells=cells, stem=stem)
        expected = slow.run(x, weights, net.classifier.out_features)
    torch.testing.assert_close(net(x), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": "large"}, "unknown stem 'large'; choose from small, imagenet"),
        ({"operations": ("skip", "none")}, "unknown operation 'skip'; choose from none, "),
        ({"stem": "imagenet", "channels": 1}, "at least 2 output channels, got 1"),
    ],
)
def test_invalid_options_are_rejected_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make(**options)
    assert "\n" not in str(caught.value)
