"""Networks and edge-wise supernets against plain implementations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import images
from oracles.plain_network import PlainNetwork
from slow_cases import slow_except
from torch import Tensor, nn

from darts.spaces.cnn import PRIMITIVES, PUBLISHED, EdgewiseSupernet, Network
from darts.spaces.cnn.network import pool_to_two
from darts.spaces.genotype import OPERATIONS as KNOWN
from darts.spaces.genotype import Genotype

V2 = PUBLISHED["DARTS_V2"].genotype


def make(cells_of: Genotype = V2, **options: Any) -> Network:
    torch.manual_seed(0)
    small = {"channels": 2, "cells": 3, "classes": 4, "auxiliary": False}
    return Network(cells_of, **(small | options))


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, 3_349_342),
        ({"channels": 48, "cells": 14, "classes": 1000, "stem": "imagenet"}, 4_718_752),
    ],
)
def test_published_numbers_of_weights(options: dict[str, Any], weights: int) -> None:
    with torch.device("meta"):
        plain = Network(V2, **options, auxiliary=False)
        whole = Network(V2, **options)
    assert sum(p.numel() for p in plain.parameters()) == weights
    head = sum(p.numel() for p in whole.auxiliary.parameters())
    assert sum(p.numel() for p in whole.parameters()) == weights + head


def test_the_auxiliary_head_runs_only_on_request() -> None:
    net = make(auxiliary=True)
    calls: list[int] = []
    net.auxiliary.register_forward_hook(lambda m, inputs, output: calls.append(1))
    x = images(3, 3, 8, 8).float()
    for training in (True, False):
        net.train(training)
        logits = net(x)
        assert not calls
        again, auxiliary = net(x, auxiliary=True)
        assert torch.equal(again, logits)
        assert auxiliary.shape == (3, 4)
        assert len(calls) == 1
        calls.clear()


@pytest.mark.parametrize(("side", "stride"), [(8, 3), (7, 2)])
def test_pool_to_two_equals_the_published_pooling(side: int, stride: int) -> None:
    x = images(2, 3, side, side)
    torch.testing.assert_close(pool_to_two(x), F.avg_pool2d(x, 5, stride))


@pytest.mark.parametrize("height", range(1, 21))
def test_pool_to_two_covers_every_pixel_of_any_size(height: int) -> None:
    for width in (1, 2, 3, 8, 13, 20):
        x = images(2, 3, height, width).requires_grad_()
        y = pool_to_two(x)
        assert y.shape == (2, 3, 2, 2)
        assert (torch.autograd.grad(y.sum(), x)[0] > 0).all()
        top, left = math.ceil(3 * height / 5), math.ceil(3 * width / 5)
        torch.testing.assert_close(y[..., 0, 0], x[..., :top, :left].mean((2, 3)))
        constant = torch.full((1, 1, height, width), 3.0)
        torch.testing.assert_close(pool_to_two(constant), torch.full((1, 1, 2, 2), 3.0))
        # The mirrored image gives the mirrored means.
        torch.testing.assert_close(pool_to_two(x.flip(-1)), y.flip(-1))


@pytest.mark.parametrize("rate", [1.0, float("nan")])
def test_invalid_drop_path_is_rejected(rate: float) -> None:
    with pytest.raises(ValueError, match=f"drop_path={rate}: must be >= 0 and < 1"):
        make(drop_path=rate)


OPERATIONS = tuple(name for name in KNOWN if name != "noise")  # noise differs between the networks
ALL_OPERATIONS = Genotype(
    # Each operation reads an input of the cell and a node; in the reduction cell, several poolings
    # read the same state.
    normal=tuple(
        (name, source)
        for number, name in enumerate(OPERATIONS)
        for source in (number % 2, 1 + number)
    ),
    normal_concat=(2, 5, 11, 8),
    reduce=(
        *((name, number % 2) for number, name in enumerate(OPERATIONS)),
        *(("max_pool_3x3", 0), ("max_pool_3x3", 0), ("avg_pool_3x3", 1), ("avg_pool_3x3", 1)),
        *(("sep_conv_3x3", 3), ("dil_conv_5x5", 3), ("max_pool_3x3", 3), ("avg_pool_3x3", 3)),
    ),
    reduce_concat=(2, 3, 4, 5, 6, 7, 8, 10),
)
# Number of cells by image size. A single cell is a reduction cell; the auxiliary head reads it.
SIZES = {(9, 11): 4, (8, 8): 3, (13, 8): 1}
Operation = Callable[[Tensor], Tensor]
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


def pair(genotype: Genotype, **options: Any) -> tuple[Network, PlainNetwork]:
    """Return both networks with equal weights, none at its initial value, and batch statistics."""
    torch.manual_seed(0)
    options = {"channels": 4, "classes": 3, "in_channels": 2} | options
    net, plain = Network(genotype, **options).double(), PlainNetwork(genotype, **options).double()
    norms = [module for module in plain.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.2 * torch.rand_like(parameter))
        for norm in norms:
            norm.momentum = 1.0
        plain(torch.randn(8, 2, 16, 16, dtype=torch.float64), auxiliary=True)
        for norm in norms:
            norm.momentum = 0.1
    net.load_state_dict(plain.state_dict())
    return net, plain


def results(net: Any, size: tuple[int, int], *, seed: int = 2) -> dict[str, Tensor | None]:
    """Return the logits, all gradients, and the buffers after the step."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(5, 2, *size, generator=generator, dtype=torch.float64).requires_grad_()
    torch.manual_seed(seed)  # of drop path
    logits, extra = net(images, auxiliary=True)
    loss = logits.sin().sum() + (0.0 if extra is None else extra.cos().sum())
    loss.backward()
    return {
        "logits": logits,
        "auxiliary": extra,
        "images": images.grad,
        **{f"gradient of {name}": p.grad for name, p in net.named_parameters()},
        **dict(net.named_buffers()),
    }


def assert_same(net: Network, plain: PlainNetwork, size: tuple[int, int]) -> None:
    got, expected = results(net, size), results(plain, size)
    torch.testing.assert_close(got, expected, **TOLERANCE)


@pytest.mark.parametrize("name", ["all operations", *PUBLISHED])
def test_state_dict_and_initial_weights_match_the_plain_network(name: str) -> None:
    genotype = PUBLISHED[name].genotype if name in PUBLISHED else ALL_OPERATIONS
    states = []
    for kind in (Network, PlainNetwork):
        torch.manual_seed(0)
        states.append(kind(genotype, channels=3, cells=4).state_dict())
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


CASES = list(itertools.product(SIZES, ("small", "imagenet"), (True, False)))


@pytest.mark.parametrize(
    ("size", "stem", "training"), slow_except(CASES, [*CASES[::3], CASES[4], CASES[10]])
)
def test_operations_match_a_plain_network(size: tuple[int, int], stem: str, training: bool) -> None:
    net, plain = pair(ALL_OPERATIONS, cells=SIZES[size], stem=stem)
    assert {name for name, _ in ALL_OPERATIONS.normal} == set(OPERATIONS)
    assert_same(net.train(training), plain.train(training), size)


@pytest.mark.parametrize(
    "name", slow_except(PUBLISHED, ("NASNET", "AMOEBANET", "DARTS_V2", "GDAS"))
)
def test_published_genotypes_match_the_plain_network(name: str) -> None:
    net, plain = pair(PUBLISHED[name].genotype, cells=4)
    assert_same(net, plain, (9, 8))


def test_drop_path_matches_the_plain_network() -> None:
    net, plain = pair(ALL_OPERATIONS, cells=4, drop_path=0.4)
    assert_same(net, plain, (9, 8))
    assert not torch.equal(results(net, (9, 8))["logits"], results(net, (9, 8), seed=4)["logits"])


def make_supernet(**options: Any) -> EdgewiseSupernet:
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
    def norm(x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True)

    def affine_norm(self, x: Tensor) -> Tensor:
        scale, shift = self.take(x.shape[1]), self.take(x.shape[1])
        return F.batch_norm(x, None, None, scale, shift, training=True)

    def factorized_reduce(self, inputs: int, outputs: int) -> Operation:
        first = self.take(outputs // 2, inputs, 1, 1)
        second = self.take(outputs - outputs // 2, inputs, 1, 1)

        def apply(x: Tensor) -> Tensor:
            height, width = x.shape[2:]
            y = F.pad(x.relu(), (0, width % 2, 0, height % 2))
            halves = [F.conv2d(y[:, :, 0::2, 0::2], first), F.conv2d(y[:, :, 1::2, 1::2], second)]
            return self.norm(torch.cat(halves, 1))

        return apply

    def pointwise(self, inputs: int, outputs: int) -> Operation:
        weight = self.take(outputs, inputs, 1, 1)
        return lambda x: self.norm(F.conv2d(x.relu(), weight))

    def depthwise(self, c: int, kernel: int, stride: int, dilation: int) -> Operation:
        deep, point = self.take(c, 1, kernel, kernel), self.take(c, c, 1, 1)
        padding = (kernel - 1) * dilation // 2
        return lambda x: self.norm(
            F.conv2d(F.conv2d(x.relu(), deep, None, stride, padding, dilation, groups=c), point)
        )

    def operation(self, name: str, c: int, stride: int) -> Operation:
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
    net = make_supernet(channels=channels, cells=cells, stem=stem).double()
    x = images(3, 3, *size)
    weights = {kind: alpha.detach().softmax(1) for kind, alpha in net.alphas.items()}
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
        make_supernet(**options)
    assert "\n" not in str(caught.value)
