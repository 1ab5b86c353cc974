"""Conversion of state dicts between the two supernets."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cnn_supernets import REPEATABLE, SMALL, images, labels, make_pair
from torch import Tensor, nn

from darts.spaces.cnn import EdgewiseSupernet, Supernet, fuse_state_dict, unfuse_state_dict
from darts.spaces.cnn.stacking import bundles_of

NETWORKS: dict[str, dict[str, Any]] = {
    "paper's operations": {},
    "fourteen edges": {"nodes": 4, "channels": 2, "cells": 3},
    "reduction cells only": {"cells": 2, "nodes": 3},
    "one cell": {"cells": 1, "nodes": 1},
    "all operations": {"operations": REPEATABLE, "channels": 5},
    "weights in reduction cells only": {"operations": ("skip_connect", "none")},
    "no weights at all": {"operations": ("none",)},
    "large stem": {"stem": "imagenet", "cells": 8},
}
SLOW = (
    "paper's operations",
    "fourteen edges",
    "large stem",
    "weights in reduction cells only",
    "no weights at all",
)
ALL = [
    pytest.param(options, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name, options in NETWORKS.items()
]


def train(net: nn.Module) -> None:
    """Take two steps, so that all statistics and weights differ."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for seed in (1, 2):
        optimizer.zero_grad()
        x = images(3, 3, 9, 8, seed=seed)
        F.cross_entropy(net(x), labels(3, seed)).backward()
        optimizer.step()


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(actual) == set(expected)
    for name, value in actual.items():
        assert value.dtype == expected[name].dtype
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    "trained", [pytest.param(False, id="fresh", marks=pytest.mark.slow), True], ids=str
)
@pytest.mark.parametrize("options", ALL)
def test_fuse_and_unfuse_are_inverse(options: dict[str, Any], trained: bool) -> None:
    slow, fast = make_pair(**options)
    if trained:
        train(slow)
        train(fast)
    state = slow.state_dict()
    assert_equal(unfuse_state_dict(fuse_state_dict(state)), state)
    state = fast.state_dict()
    assert_equal(fuse_state_dict(unfuse_state_dict(state)), state)


@pytest.mark.parametrize("options", ALL)
def test_converted_state_dicts_give_equal_outputs(options: dict[str, Any]) -> None:
    slow, fast = make_pair(**options)
    train(slow)
    fast.load_state_dict(fuse_state_dict(slow.state_dict()))
    x = images(3, 3, 8, 9, seed=4)
    torch.testing.assert_close(fast.eval()(x), slow.eval()(x), rtol=1e-9, atol=1e-9)
    train(fast.train())
    slow.load_state_dict(unfuse_state_dict(fast.state_dict()))
    torch.testing.assert_close(slow(x), fast.eval()(x), rtol=1e-9, atol=1e-9)


def test_fusing_keeps_common_names_and_the_order_of_edges() -> None:
    slow, fast = make_pair(operations=("sep_conv_3x3",), cells=1, nodes=2)
    state = fuse_state_dict(slow.state_dict())
    for name in ("classifier.bias", "alphas.reduce", "cells.0.preprocess1.1.weight"):
        assert torch.equal(state[name], slow.state_dict()[name])
    edges = [edge.operations[0][1].weight for edge in slow.cells[0].edges]
    # Edges 0 and 2 leave the first input, edges 1 and 3 the second, and edge 4 the first node.
    for group, members in enumerate(([0, 2, 1, 3], [4])):
        actual = state[f"cells.0.groups.{group}.operations.0.1.weight"]
        assert torch.equal(actual, torch.cat([edges[edge] for edge in members]))
    assert set(state) == set(fast.state_dict())


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [(1, [[0, 1]]), (2, [[0, 2, 1, 3], [4]]), (3, [[0, 2, 5, 1, 3, 6], [4, 7], [8]])],
)
def test_bundles_hold_the_edges_that_leave_the_inputs_or_one_node(
    nodes: int, expected: list[list[int]]
) -> None:
    assert bundles_of(nodes) == expected


def test_networks_share_no_memory_after_loading() -> None:
    slow, fast = make_pair()
    fast.load_state_dict(fuse_state_dict(slow.state_dict()))
    kept = {name: value.clone() for name, value in slow.state_dict().items()}
    train(fast)
    assert_equal(slow.state_dict(), kept)


@pytest.mark.parametrize("way", ["fuse", "unfuse"])
def test_conversion_copies_tensors(way: str) -> None:
    slow, fast = make_pair()
    source = (slow if way == "fuse" else fast).state_dict()
    kept = {name: value.clone() for name, value in source.items()}
    for value in (fuse_state_dict if way == "fuse" else unfuse_state_dict)(source).values():
        value.add_(1)
    assert_equal(dict(source), kept)


def test_converted_tensors_share_no_memory() -> None:
    slow, fast = make_pair()
    for state in (fuse_state_dict(slow.state_dict()), unfuse_state_dict(fast.state_dict())):
        places = [value.untyped_storage().data_ptr() for value in state.values()]
        assert len(set(places)) == len(places)


@cache
def wrong() -> dict[str, dict[str, Tensor]]:
    """Return state dicts that belong to no supernet."""
    return {
        "nothing": {},
        "a layer": nn.Linear(2, 3).state_dict(),
        "alphas only": {"alphas.normal": torch.zeros(14, 8), "alphas.reduce": torch.zeros(14, 8)},
        "without alphas": {
            name: value
            for kind in (Supernet, EdgewiseSupernet)
            for name, value in kind(**SMALL).state_dict().items()
            if not name.startswith("alphas")
        },
    }


@pytest.mark.parametrize("name", wrong())
def test_other_state_dicts_are_rejected(name: str) -> None:
    for convert, what in (
        (fuse_state_dict, "an EdgewiseSupernet"),
        (unfuse_state_dict, "a Supernet"),
    ):
        with pytest.raises(ValueError, match=f"^this is not the state dict of {what}$"):
            convert(wrong()[name])


def test_state_dicts_of_the_wrong_supernet_are_rejected() -> None:
    slow, fast = make_pair()
    with pytest.raises(ValueError, match=r"^this is not the state dict of an EdgewiseSupernet$"):
        fuse_state_dict(fast.state_dict())
    with pytest.raises(ValueError, match=r"^this is not the state dict of a Supernet$"):
        unfuse_state_dict(slow.state_dict())


small_pair = cache(make_pair)


def damaged(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    if how == "an impossible number of edges":
        return state | {"alphas.normal": torch.zeros(4, 8)}
    if how == "another number of edges":
        return state | {"alphas.normal": torch.zeros(9, 8)}
    gone = {
        "first of a cell missing": ("cells.1.edges.0.", "cells.1.groups.0."),
        "last of a cell missing": ("cells.1.edges.4.", "cells.1.groups.1."),
        "one weight missing": (
            "cells.1.edges.1.operations.4.1.weight",
            "cells.1.groups.0.operations.4.1.weight",
        ),
    }[how]
    return {name: value for name, value in state.items() if not name.startswith(gone)}


@pytest.mark.parametrize("way", ["fuse", "unfuse"])
@pytest.mark.parametrize(
    "how",
    [
        "an impossible number of edges",
        "another number of edges",
        "first of a cell missing",
        "last of a cell missing",
        "one weight missing",
    ],
)
def test_damaged_state_dicts_are_rejected(how: str, way: str) -> None:
    slow, fast = small_pair()
    net, convert = (slow, fuse_state_dict) if way == "fuse" else (fast, unfuse_state_dict)
    state = damaged(net.state_dict(), how)
    with pytest.raises(ValueError, match="state dict") as caught:
        convert(state)
    assert "\n" not in str(caught.value)
