"""The fast supernets of cnn and nas201 against the edge-wise ones, and wider operations."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.comparing import EXACT, HYPERGRADIENTS, assert_same, gradients, images, labels
from oracles.supernet_pairs import (
    ORACLES,
    REPEATABLE,
    Pair,
    assert_same_gradients,
    assert_same_state,
    backward,
    check,
    make_pair,
)
from slow_cases import slow_except
from tiny_search import cross_entropy
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from darts.spaces import cnn
from darts.spaces.cnn.candidates import candidate_operations
from darts.spaces.cnn.operations import FactorizedReduce
from darts.spaces.mixture import Mixture
from darts.spaces.nas201.genotype import PRIMITIVES
from darts.spaces.supernet import widen


def case(space: str, size: tuple[int, int], slow: bool = False, **options: Any) -> Any:
    return pytest.param(space, size, options, marks=[pytest.mark.slow] if slow else [])


CASES = [
    *(case("cnn", (9, 11), slow=n % 2 == 0, operations=(op,)) for n, op in enumerate(REPEATABLE)),
    case("cnn", (9, 11), slow=True, operations=cnn.PRIMITIVES),
    case("cnn", (9, 11), operations=REPEATABLE),
    case("cnn", (8, 8), slow=True, operations=REPEATABLE),
    case("cnn", (11, 14), nodes=4, cells=3, channels=2),
    case("cnn", (11, 14), nodes=1),
    case("cnn", (11, 14), slow=True, stem="imagenet"),
    case("cnn", (11, 14), stem="imagenet", channels=4, cells=1, nodes=3),
    case("cnn", (11, 14), slow=True, in_channels=1, channels=1),
    case("cnn", (11, 14), in_channels=2, channels=5, cells=2),
    # This stem reduces 8 pixels to 1, so most pixels of every window are padding.
    case("cnn", (8, 8), stem="imagenet", operations=REPEATABLE),
    *(case("nas201", (9, 7), operations=(name,)) for name in PRIMITIVES),
    case("nas201", (9, 7), operations=("nor_conv_3x3", "none", "skip_connect")),
    case("nas201", (8, 9), cells=2),
    case("nas201", (8, 9), partial=4),
    case("nas201", (8, 9), auxiliary_skip=True),
    case("nas201", (8, 9), auxiliary_skip=True, partial=2, operations=("none", "nor_conv_1x1")),
    case("nas201", (8, 9), channels=1, in_channels=1),
]


@pytest.mark.parametrize(("space", "size", "options"), CASES)
def test_both_supernets_agree(space: str, size: tuple[int, int], options: dict[str, Any]) -> None:
    check(make_pair(space, **options), images(5, options.get("in_channels", 3), *size))


@pytest.mark.parametrize(
    ("space", "options"),
    [
        ("cnn", {}),
        ("cnn", {"operations": REPEATABLE, "stem": "imagenet"}),
        ("nas201", {"auxiliary_skip": True}),
    ],
)
def test_equal_seeds_give_equal_networks(space: str, options: dict[str, Any]) -> None:
    oracle, states, after = ORACLES[space], [], []
    for kind in (oracle.slow, oracle.fast):
        torch.manual_seed(0)
        states.append(kind(**oracle.small | options).state_dict())
        after.append(torch.rand(()))
    assert torch.equal(*after)  # the random state is also the same
    expected = oracle.fuse(states[0])
    assert set(states[1]) == set(expected)
    assert all(torch.equal(value, expected[name]) for name, value in states[1].items())


def test_gradients_do_not_depend_on_which_parameters_require_them() -> None:
    x = images(3, 3, 9, 8)
    both = make_pair().fast
    backward(both, x)
    wanted = gradients(both)
    for trained in ("alphas", "weights"):
        net = make_pair().fast
        expected = {}
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name.startswith("alphas.") == (trained == "alphas"))
            if parameter.requires_grad:
                expected[name] = wanted[name]
        backward(net, x)
        assert_same(expected, gradients(net))
        assert all(p.grad is None for p in net.parameters() if not p.requires_grad)


MIXED: dict[str, dict[str, Any]] = {
    "all": {},
    "partial": {"channels": 8, "partial": 4},
    "auxiliary": {"auxiliary_skip": True},
    "both": {"channels": 4, "partial": 2, "auxiliary_skip": True},
}
KINDS = ("plain", "by cell", "bypass", "sampled", "some", "nothing")
ACTIVE = ("sampled", "some", "nothing")


def mixture_of(net: Any, kind: str) -> Mixture:
    """Return a mixture of one kind with random weights that require gradients."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()

    shapes = net.shapes
    by_cell = kind in ("by cell", "some")
    cells = {g: (count,) if by_cell else () for g, count in net.counts.items()}
    weights = {g: draw(*cells[g], *shape) for g, shape in shapes.items()}
    if kind in ("plain", "by cell"):
        return Mixture(weights)
    bypass = {g: draw(shape[0]) for g, shape in shapes.items()}
    if kind == "bypass":
        return Mixture(weights, bypass=bypass)
    if kind == "sampled":
        chosen = {g: torch.randint(c, (e,), generator=generator) for g, (e, c) in shapes.items()}
        active = {g: F.one_hot(chosen[g], c).bool() for g, (_, c) in shapes.items()}
    else:
        share = 0.5 if kind == "some" else 0.0
        active = {g: torch.rand(shape, generator=generator) < share for g, shape in shapes.items()}
    return Mixture(weights, bypass=bypass, active=active)


MIXTURES = [
    *itertools.product(("cnn",), MIXED, KINDS[:-1], ("train", "eval")),
    *itertools.product(("nas201",), ("both",), KINDS, ("train",)),
]
EVERYDAY = [
    *(("cnn", "both", kind, "train") for kind in KINDS[:-1]),
    *(("cnn", "all", kind, "train") for kind in ("plain", "some")),
    *(("cnn", "both", kind, "eval") for kind in ("by cell", "sampled")),
    *(("nas201", "both", kind, "train") for kind in ("by cell", *ACTIVE)),
]


@pytest.mark.parametrize(("space", "options", "kind", "mode"), slow_except(MIXTURES, EVERYDAY))
def test_the_supernets_agree_on_mixtures(space: str, options: str, kind: str, mode: str) -> None:
    pair, x = make_pair(space, **MIXED[options]), images(3, 3, 9, 10)
    given = []
    for net in pair:
        net.train(mode == "train")
        mixture = mixture_of(net, kind)
        loss = F.cross_entropy(net(x, mixture), labels(3))
        loss.backward()
        leaves = [*mixture.values(), *(mixture.bypass or {}).values()]
        given.append((loss, *(leaf.grad for leaf in leaves)))
    torch.testing.assert_close(*given, **EXACT)
    assert_same_gradients(pair)
    # In cnn, edges share a counter, and only active norms of the slow supernet count batches.
    if space == "nas201" or kind not in ACTIVE:
        assert_same_state(pair)


SEARCHED: dict[str, tuple[str, dict[str, Any]]] = {
    "all operations": ("cnn", {"cells": 3}),
    "a normal cell at the end": ("cnn", {"cells": 4, "channels": 2, "stem": "imagenet"}),
    "others": (
        "cnn",
        {"cells": 3, "operations": ("skip_connect", "conv_7x1_1x7", "sep_conv_7x7", "none")},
    ),
    "nas201": ("nas201", {}),
    "nas201, recomputed": ("nas201", {}),
}


def batch(seed: int) -> tuple[Tensor, Tensor]:
    return images(5, 3, 9, 8, seed=seed), labels(5, seed)


def trained_pair(space: str = "cnn", **options: Any) -> tuple[Pair, list[Optimizer]]:
    """Return two networks and two optimizers in the same state, after two training steps."""
    pair = make_pair(space, **options)
    slow = SGD(pair.slow.weight_parameters(), lr=0.05, momentum=0.9, weight_decay=3e-3)
    for seed in (11, 12):
        pair.slow.zero_grad()
        cross_entropy(pair.slow, batch(seed)).backward()
        slow.step()
    pair.slow.zero_grad()
    pair.fast.load_state_dict(pair.fused({}))
    fast = SGD(pair.fast.weight_parameters(), **slow.defaults)
    names = {parameter: name for name, parameter in pair.slow.named_parameters()}
    momenta = pair.fused({names[p]: state["momentum_buffer"] for p, state in slow.state.items()})
    for name, parameter in pair.fast.named_parameters():
        if not name.startswith("alphas."):
            fast.state[parameter]["momentum_buffer"] = momenta[name].clone()
    return pair, [slow, fast]


EVERYDAY_GRADIENTS = [
    ("all operations", "first_order"),
    ("all operations", "finite_difference"),
    ("a normal cell at the end", "exact"),
    *itertools.product(("nas201", "nas201, recomputed"), HYPERGRADIENTS),
]


@pytest.mark.parametrize(
    ("searched", "method"),
    slow_except(itertools.product(SEARCHED, HYPERGRADIENTS), EVERYDAY_GRADIENTS),
)
def test_gradients_of_the_alphas(searched: str, method: str) -> None:
    space, options = SEARCHED[searched]
    pair, optimizers = trained_pair(space, **options)
    if "recomputed" in searched:
        pair.fast.recompute_cells()
    compute, how = HYPERGRADIENTS[method]
    slow, fast = (
        compute(net, cross_entropy, batch(1), batch(2), optimizer, **how)
        for net, optimizer in zip(pair, optimizers, strict=True)
    )
    assert set(slow) == set(fast) == set(pair.slow.alphas)
    assert any(gradient.any() for gradient in fast.values())
    rough = space == "nas201" and method == "finite_difference"
    assert_same(fast, slow, **({"rtol": 1e-6, "atol": 1e-9} if rough else EXACT))


def test_second_derivatives_of_the_weights() -> None:
    pair = make_pair(cells=3)
    actual = []
    for net in pair:
        loss = cross_entropy(net, batch(1))
        parameters = dict(net.named_parameters())
        leaves = list(parameters.values())
        first = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
        length = sum(g.square().sum() for g in first if g is not None)
        second = torch.autograd.grad(length, leaves, allow_unused=True, materialize_grads=True)
        actual.append(dict(zip(parameters, second, strict=True)))
    assert_same(actual[1], pair.fused(actual[0]), rtol=1e-8, atol=1e-8)


widths = st.tuples(st.integers(1, 4), st.integers(0, 5)).map(lambda pair: (pair[0], sum(pair)))


def chain(a: int, b: int, c: int) -> nn.Sequential:
    """Return a convolution and a separable convolution, each with its norm."""
    return nn.Sequential(
        nn.Conv2d(a, b, 3, padding=1, bias=False),
        nn.BatchNorm2d(b, affine=False),
        nn.ReLU(),
        nn.Conv2d(b, b, 3, padding=2, dilation=2, groups=b, bias=False),
        nn.Conv2d(b, c, 1),
        nn.BatchNorm2d(c),
    ).double()


def repeated(x: Tensor, width: int) -> Tensor:
    return torch.stack([x[:, i % x.shape[1]] for i in range(width)], dim=1)


@given(widths, widths, widths, st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_a_wider_chain_repeats_the_output_channels(
    a: tuple[int, int], b: tuple[int, int], c: tuple[int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    narrow, wide = (chain(a[side], b[side], c[side]) for side in (0, 1))
    with torch.no_grad():
        for parameter in narrow.parameters():
            parameter.normal_()
    for _ in range(2):  # changes the running statistics
        narrow(torch.randn(5, a[0], 6, 5, dtype=torch.float64))
    wide.load_state_dict(widen(narrow.state_dict(), wide.state_dict()))
    x = torch.randn(4, a[0], 6, 5, dtype=torch.float64)
    for training in (False, True):
        narrow.train(training)
        wide.train(training)
        torch.testing.assert_close(wide(repeated(x, a[1])), repeated(narrow(x), c[1]))


@pytest.mark.parametrize(("old", "new"), [(4, 8), (6, 10), (5, 7)])
def test_a_wider_factorized_reduce_repeats_the_channels_of_each_half(old: int, new: int) -> None:
    torch.manual_seed(old)
    narrow, wide = (FactorizedReduce(3, width).double() for width in (old, new))
    for _ in range(3):  # changes the running statistics
        narrow(torch.randn(6, 3, 6, 6, dtype=torch.float64).mul(2))
    with torch.no_grad():
        narrow.norm.weight.normal_()
        narrow.norm.bias.normal_()
    wide.load_state_dict(widen(narrow.state_dict(), wide.state_dict()))
    x = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    for training in (False, True):
        halves = narrow.train(training)(x).split([old // 2, old - old // 2], dim=1)
        sides = (new // 2, new - new // 2)
        expected = [repeated(half, side) for half, side in zip(halves, sides, strict=True)]
        torch.testing.assert_close(wide.train(training)(x), torch.cat(expected, dim=1))


@pytest.mark.parametrize("space", ORACLES)
def test_a_fast_supernet_is_widened_like_the_edgewise_one(space: str) -> None:
    oracle = ORACLES[space]
    narrow, wide = (oracle.slow(**oracle.small | {"channels": 8, "partial": n}) for n in (4, 2))
    narrow(torch.randn(3, 3, 8, 8))  # changes the running statistics
    expected = oracle.fuse(widen(narrow.state_dict(), wide.state_dict()))
    fast = oracle.fast(**oracle.small | {"channels": 8, "partial": 2})
    actual = fast.widened(oracle.fuse(narrow.state_dict()))
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_supernets_whose_edges_have_different_candidates_are_widened_alike() -> None:
    """In S1, an operation is a candidate of some edges of a bundle only."""
    options = {"channels": 8, "cells": 3, "nodes": 4, "operations": candidate_operations("s1")}
    narrow, wide = (make_pair(**options, partial=n) for n in (4, 2))
    x = images(3, 3, 9, 8)
    for net in narrow:
        net(x)  # changes the running statistics
    wide.slow.load_state_dict(widen(narrow.slow.state_dict(), wide.slow.state_dict()))
    wide.fast.load_state_dict(wide.fast.widened(narrow.fast.state_dict()))
    for training in (True, False):
        logits = [net.train(training)(x) for net in wide]
        torch.testing.assert_close(*logits, **EXACT)
