"""The discrete network: published sizes, its auxiliary head, and its oracle."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import images
from oracles.plain_network import PlainNetwork
from slow_cases import slow_except
from torch import Tensor, nn

from darts.spaces.cnn import PUBLISHED, Network
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
def test_operations_match_the_plain_network(
    size: tuple[int, int], stem: str, training: bool
) -> None:
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
