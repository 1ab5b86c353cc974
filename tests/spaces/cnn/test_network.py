"""The discrete network: published sizes, all genotypes, auxiliary head and drop path."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.spaces.cnn import PUBLISHED, Network
from darts.spaces.cnn.network import pool_to_two
from darts.spaces.genotype import Genotype

V2 = PUBLISHED["DARTS_V2"].genotype
REDUCE = [("max_pool_3x3", 0), ("max_pool_3x3", 1)]


def genotype(*normal: tuple[str, int]) -> Genotype:
    nodes = range(2, 2 + len(normal) // 2)
    return Genotype(
        normal=normal, normal_concat=tuple(nodes), reduce=tuple(REDUCE), reduce_concat=(2,)
    )


def make(cells_of: Genotype = V2, **options: Any) -> Network:
    torch.manual_seed(0)
    small = {"channels": 2, "cells": 3, "classes": 4, "auxiliary": False}
    return Network(cells_of, **(small | options))


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def first_cell(net: Network, x: Tensor) -> Tensor:
    """Return the output of the first cell, a normal one."""
    outputs: list[Tensor] = []
    handle = net.cells[0].register_forward_hook(lambda m, inputs, output: outputs.append(output))
    net(x)
    handle.remove()
    return outputs[0].detach()


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
    assert whole.auxiliary is not None
    head = sum(p.numel() for p in whole.auxiliary.parameters())
    assert sum(p.numel() for p in whole.parameters()) == weights + head


def test_a_genotype_of_none_outputs_the_bias() -> None:
    net = make(
        Genotype(
            normal=(("none", 0), ("none", 1)), normal_concat=(2,),
            reduce=(("none", 0), ("none", 1)), reduce_concat=(2,),
        ),
        drop_path=0.5,
    )  # fmt: skip
    for training in (True, False):
        net.train(training)
        logits = net(images(3, 3, 9, 8))
        torch.testing.assert_close(logits, net.classifier.bias.expand(3, 4))


def test_the_auxiliary_head_runs_only_on_request() -> None:
    net = make(auxiliary=True)
    assert net.auxiliary is not None
    calls: list[int] = []
    net.auxiliary.register_forward_hook(lambda m, inputs, output: calls.append(1))
    x = images(3, 3, 8, 8)
    for training in (True, False):
        net.train(training)
        logits = net(x)
        assert isinstance(logits, Tensor)
        assert not calls
        again, auxiliary = net(x, auxiliary=True)
        assert torch.equal(again, logits)
        assert auxiliary.shape == (3, 4)
        assert len(calls) == 1
        calls.clear()
    assert make()(x, auxiliary=True)[1] is None


@pytest.mark.parametrize(("side", "stride"), [(8, 3), (7, 2)])
def test_pool_to_two_equals_the_published_pooling(side: int, stride: int) -> None:
    x = images(2, 3, side, side).double()
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


def test_drop_path_is_independent_across_samples_and_operations() -> None:
    net = make(genotype(("avg_pool_3x3", 0), ("none", 1), ("avg_pool_3x3", 0), ("none", 1)))
    x = images(200, 3, 8, 8)
    kept = first_cell(net, x)
    net.drop_path = 0.5
    y = first_cell(net, x)
    nodes = [y[:, :2], y[:, 2:]]
    dropped = [(node == 0).flatten(1).all(1) for node in nodes]
    for node, gone, whole in zip(nodes, dropped, (kept[:, :2], kept[:, 2:]), strict=True):
        assert 60 < int(gone.sum()) < 140
        torch.testing.assert_close(node[~gone], 2 * whole[~gone])
    assert 60 < int((dropped[0] != dropped[1]).sum()) < 140


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels=0: must be an integer >= 1"),
        ({"drop_path": 1.0}, r"drop_path=1\.0: must be >= 0 and < 1"),
        ({"drop_path": float("nan")}, "drop_path=nan: must be >= 0 and < 1"),
        ({"stem": "none"}, "unknown stem 'none'; choose from small, imagenet"),
    ],
)
def test_invalid_options_are_rejected_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make(**options)
    assert "\n" not in str(caught.value)
