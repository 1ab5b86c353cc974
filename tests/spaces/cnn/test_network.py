"""The discrete network: published sizes, all genotypes, auxiliary head and drop path."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import images

from darts.spaces.cnn import PUBLISHED, Network
from darts.spaces.cnn.network import pool_to_two
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
