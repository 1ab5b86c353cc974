"""Values, gradients and statistics of the fast supernet against the edge-wise one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cnn_supernets import (
    EXACT,
    REPEATABLE,
    Pair,
    assert_same,
    assert_same_gradients,
    assert_same_state,
    fused,
    gradients,
    images,
    labels,
    make_pair,
    slow_except,
)
from torch import Tensor, nn

from darts.spaces.cnn import PRIMITIVES, EdgewiseSupernet, Supernet, fuse_state_dict

Weights = dict[str, Tensor]
EVERYTHING = REPEATABLE
ALONE = [(name,) for name in REPEATABLE]


def ids(value: Any) -> str | None:
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return "+".join(value) if len(value) < 3 else f"{len(value)} operations"
    return "x".join(map(str, value)) if isinstance(value, tuple) else None


def backward(net: nn.Module, x: Tensor, weights: Weights | None = None) -> Tensor:
    """Compute the gradients of the loss and return the logits."""
    logits = net(x) if weights is None else net(x, weights)
    F.cross_entropy(logits, labels(len(x))).backward()
    return logits.detach()


def check(pair: Pair, x: Tensor, weights: Weights | None = None) -> None:
    """Compare logits, gradients and running statistics, in training and in evaluation."""
    torch.testing.assert_close(
        backward(pair.fast, x, weights), backward(pair.slow, x, weights), **EXACT
    )
    assert_same_gradients(pair)
    for seed in (5, 6):
        for net in pair:
            net(images(*x.shape, seed=seed))
    assert_same_state(pair)
    for net in pair:
        net.eval()
        net.zero_grad()
    torch.testing.assert_close(
        backward(pair.fast, x, weights), backward(pair.slow, x, weights), **EXACT
    )
    assert_same_gradients(pair)


@pytest.mark.parametrize("size", [(9, 11), pytest.param((8, 8), marks=pytest.mark.slow)], ids=ids)
@pytest.mark.parametrize(
    "operations",
    [
        *(pytest.param(alone, marks=pytest.mark.slow) for alone in ALONE[2::2]),
        *ALONE[1::2],
        pytest.param(PRIMITIVES, marks=pytest.mark.slow),
        EVERYTHING,
    ],
    ids=ids,
)
def test_operations_at_even_and_odd_sizes(
    operations: tuple[str, ...], size: tuple[int, int]
) -> None:
    check(make_pair(operations=operations), images(3, 3, *size))


@pytest.mark.parametrize(
    "size", [(11, 14), pytest.param((17, 12), marks=pytest.mark.slow)], ids=ids
)
@pytest.mark.parametrize(
    "options",
    [
        {"nodes": 4, "cells": 3, "channels": 2},
        {"nodes": 1},
        pytest.param({"stem": "imagenet"}, marks=pytest.mark.slow),
        {"stem": "imagenet", "channels": 4, "cells": 1, "nodes": 3},
        pytest.param({"in_channels": 1, "channels": 1}, marks=pytest.mark.slow),
        {"in_channels": 2, "channels": 5, "cells": 2},
    ],
    ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()),
)
def test_both_supernets_agree_for_options(options: dict[str, Any], size: tuple[int, int]) -> None:
    check(make_pair(**options), images(3, options.get("in_channels", 3), *size))


def test_feature_maps_of_one_pixel() -> None:
    # The imagenet stem reduces 8 pixels to 1, so most pixels of every window are padding.
    check(make_pair(stem="imagenet", operations=EVERYTHING), images(5, 3, 8, 8))


def test_more_channels_than_a_cpu_folds() -> None:
    check(make_pair(channels=12, cells=4, nodes=1), images(3, 3, 8, 8))


def test_supernet_of_none() -> None:
    check(make_pair(operations=("none",)), images(3, 3, 8, 8))


def test_supernet_of_none_outputs_the_bias() -> None:
    for net in make_pair(operations=("none",)):
        logits = backward(net, images(3, 3, 9, 8))
        torch.testing.assert_close(logits, net.classifier.bias.detach().expand(3, -1))
        assert not any(gradients(net)[f"alphas.{kind}"].any() for kind in net.alphas)


@pytest.mark.parametrize("options", [{}, {"operations": EVERYTHING, "stem": "imagenet"}])
def test_equal_seeds_give_equal_networks(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    fast = Supernet(cells=3, channels=2, **options)
    after = torch.rand(())
    torch.manual_seed(0)
    slow = EdgewiseSupernet(cells=3, channels=2, **options)
    assert torch.equal(torch.rand(()), after)  # the random state is the same, too
    expected = fuse_state_dict(slow.state_dict())
    assert set(fast.state_dict()) == set(expected)
    for name, value in fast.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_both_supernets_have_the_same_number_of_weights() -> None:
    fast, slow = Supernet(channels=4, cells=4), EdgewiseSupernet(channels=4, cells=4)
    counts = [sum(w.numel() for w in net.weight_parameters()) for net in (fast, slow)]
    assert counts[0] == counts[1]
    alphas = {id(alpha) for alpha in fast.alphas.values()}
    assert not alphas & {id(w) for w in fast.weight_parameters()}
    assert {alpha.shape for alpha in fast.alphas.values()} == {(14, 8)}


def tables(name: str, edges: int) -> Weights:
    """Return mixing weights that require gradients."""
    generator = torch.Generator().manual_seed(3)
    made = {}
    for kind in ("normal", "reduce"):
        table = torch.randn(edges, len(PRIMITIVES), generator=generator, dtype=torch.float64)
        if name == "one operation an edge":
            chosen = 1 + torch.randint(len(PRIMITIVES) - 1, (edges,), generator=generator)
            table = F.one_hot(chosen, len(PRIMITIVES)).double()
        elif name == "some edges zero":
            table[1::2] = 0
        made[kind] = table.requires_grad_()
    return made


@pytest.mark.parametrize(
    "name",
    [
        "some edges zero",
        "one operation an edge",
        pytest.param("any numbers", marks=pytest.mark.slow),
    ],
)
def test_given_mixing_weights(name: str) -> None:
    pair, x = make_pair(nodes=3), images(3, 3, 9, 8)
    given = tables(name, 9), tables(name, 9)
    actual, expected = (backward(*three) for three in zip(pair, (x, x), given, strict=True))
    torch.testing.assert_close(actual, expected, **EXACT)
    assert_same_gradients(pair)
    for kind, table in given[0].items():
        assert table.grad is not None
        assert table.grad.any()
        torch.testing.assert_close(table.grad, given[1][kind].grad, **EXACT)
    assert all(not gradients(net)[f"alphas.{kind}"].any() for net in pair for kind in given[0])


@pytest.mark.parametrize("name", slow_except(PRIMITIVES, PRIMITIVES[1:8:2]))
def test_one_operation_on_all_edges(name: str) -> None:
    pair, x = make_pair(), images(3, 3, 8, 9)
    table = torch.zeros(5, len(PRIMITIVES), dtype=torch.float64)
    table[:, PRIMITIVES.index(name)] = 1
    chosen = {"normal": table, "reduce": table}
    torch.testing.assert_close(pair.fast(x, chosen), pair.slow(x, chosen), **EXACT)


def test_mixing_weights_of_other_shapes_are_rejected() -> None:
    net = make_pair().fast
    for shape in ((5, 7), (4, 8), (6, 8)):
        table = torch.rand(shape, dtype=torch.float64)
        with pytest.raises((ValueError, RuntimeError)):
            net(images(2, 3, 8, 8), {"normal": table, "reduce": table})


def test_the_memory_format_of_images_does_not_matter() -> None:
    x = images(3, 3, 9, 10)
    actual = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net = make_pair().fast
        logits = backward(net, x.contiguous(memory_format=layout))
        actual.append({"logits": logits} | gradients(net) | dict(net.named_buffers()))
    assert_same(actual[0], actual[1])


def test_gradients_of_images() -> None:
    pair = make_pair()
    x, y = images(3, 3, 9, 8).requires_grad_(), images(3, 3, 9, 8).requires_grad_()
    backward(pair.fast, x)
    backward(pair.slow, y)
    torch.testing.assert_close(x.grad, y.grad, **EXACT)


def test_forward_does_not_modify_images_and_weights() -> None:
    net, x = make_pair(operations=EVERYTHING).fast, images(3, 3, 9, 8)
    before = [value.clone() for value in (x, *net.parameters())]
    with torch.no_grad():
        first, second = net(x), net(x)
    assert torch.equal(first, second)
    for value, kept in zip((x, *net.parameters()), before, strict=True):
        assert torch.equal(value, kept)


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


def test_training_steps_agree() -> None:
    pair = make_pair()
    momenta = []
    for net in pair:
        optimizer = torch.optim.SGD(
            net.weight_parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4
        )
        for step in range(3):
            net.zero_grad()
            backward(net, images(4, 3, 8, 9, seed=step))
            norm = nn.utils.clip_grad_norm_(net.weight_parameters(), 0.5)
            assert norm > 0.5  # so that clipping has an effect
            optimizer.step()
        names = {parameter: name for name, parameter in net.named_parameters()}
        momenta.append({names[p]: s["momentum_buffer"] for p, s in optimizer.state.items()})
    assert_same_state(pair)
    assert_same(momenta[1], fused(pair.slow, momenta[0]))


@pytest.mark.parametrize("side", [2, 1])
def test_one_value_per_channel_is_rejected(side: int) -> None:
    # An image of 2x2 pixels is reduced to one pixel, which has no variance.
    net = make_pair(cells=1).fast
    with pytest.raises(ValueError, match=r"more than (one|1) value"):
        net(images(1, 3, side, side))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operations": ("skip", "none")}, "unknown operation 'skip'; choose from none, "),
        ({"operations": ("sep_conv_3x3", "")}, "unknown operation ''; choose from none, "),
        ({"nodes": 0}, "nodes=0: must be an integer >= 1"),
        ({"stem": "large"}, "unknown stem 'large'; choose from small, imagenet"),
    ],
)
def test_both_supernets_reject_invalid_options_alike(options: dict[str, Any], message: str) -> None:
    said = []
    for kind in (Supernet, EdgewiseSupernet):
        with pytest.raises(ValueError, match=message) as caught:
            kind(**{"channels": 2, "cells": 3} | options)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
