"""``Network`` against a plain implementation: names, random numbers, outputs and gradients."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from oracles.plain_network import PlainNetwork
from slow_cases import slow_except
from torch import Tensor, nn

from darts.spaces.cnn import PUBLISHED, Network
from darts.spaces.genotype import OPERATIONS as KNOWN
from darts.spaces.genotype import Genotype

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
