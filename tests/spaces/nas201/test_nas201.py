"""Genotypes, supernet and networks of NAS-Bench-201."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import EXACT, images
from oracles.nas201_supernet import EdgewiseCell
from oracles.supernet_pairs import make_pair

from darts.spaces.mixture import Mixture
from darts.spaces.nas201 import Genotype
from darts.spaces.nas201.genotype import EDGES, PRIMITIVES
from darts.spaces.nas201.network import Network
from darts.spaces.rank_dropout import set_batch_share


def test_index_enumerates_the_architectures() -> None:
    assert Genotype.from_index(0) == Genotype.from_operations(*["none"] * 6)
    assert Genotype.from_index(15624) == Genotype.from_operations(*["avg_pool_3x3"] * 6)
    # The first edge counts most: 1 * 5**5, and 3 for the last edge.
    assert Genotype.from_index(3128).operations == (
        *("skip_connect", "none", "none", "none", "none", "nor_conv_3x3"),
    )
    assert len({Genotype.from_index(i) for i in range(0, 15625, 25)}) == 625
    assert all(Genotype.from_index(i).index == i for i in range(0, 15625, 77))
    for index in (-1, 15625):
        with pytest.raises(ValueError, match="out of bounds"):
            Genotype.from_index(index)


def paths(genotype: Genotype) -> list[list[str]]:
    """Return the operations on each path from the input to the output that has no ``none``."""
    operation = {(source, target): name for source, target, name in genotype.edges("cell")}
    found = []
    for states in ([0, 3], [0, 1, 3], [0, 2, 3], [0, 1, 2, 3]):
        edges = list(itertools.pairwise(states))
        if all(operation[edge] != "none" for edge in edges):
            found.append([f"{s}>{t}{operation[s, t]}" for s, t in edges])
    return found


def test_a_simplified_cell_has_the_same_paths_and_nothing_else() -> None:
    for index in range(0, 15_625, 7):
        genotype = Genotype.from_index(index)
        simplified = genotype.simplified()
        assert paths(simplified) == paths(genotype)
        on_paths = set(itertools.chain(*paths(simplified)))
        operations = [edge for edge in simplified.edges("cell") if edge[2] != "none"]
        assert all(f"{source}>{target}{name}" in on_paths for source, target, name in operations)
        assert simplified.simplified() == simplified


def test_cells_of_one_function_have_equal_outputs() -> None:
    """Convolutions become nonlinear functions of a number, the same on all edges.

    Cells with equal functions must then have equal outputs. Most others differ.
    """
    operations: dict[str, Callable[[float], float]] = {
        "none": lambda x: 0.0,
        "skip_connect": lambda x: x,
        "nor_conv_1x1": lambda x: math.sin(3 * x),
        "nor_conv_3x3": lambda x: x * math.cos(2 * x),
        "avg_pool_3x3": lambda x: 0.3 * x,
    }
    outputs: dict[str, float] = {}
    for index in range(0, 15_625, 3):
        genotype = Genotype.from_index(index)
        nodes = [0.7]
        for target in (1, 2, 3):
            edges = [(s, name) for s, t, name in genotype.edges("cell") if t == target]
            nodes.append(sum(operations[name](nodes[source]) for source, name in edges))
        output = outputs.setdefault(genotype.function, nodes[3])
        assert nodes[3] == pytest.approx(output, abs=1e-9)
    assert len({round(output, 9) for output in outputs.values()}) > 0.8 * len(outputs)


def test_two_convolutions_are_not_one_that_is_used_twice() -> None:
    cells = (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|nor_conv_3x3~0|skip_connect~1|none~2|",
    )
    two, once, also_two = (Genotype(cell).function for cell in cells)
    assert two == also_two != once


def test_one_hot_weights_equal_the_discrete_network() -> None:
    genotype = Genotype.from_operations(
        *("nor_conv_3x3", "none", "none", "avg_pool_3x3", "skip_connect", "nor_conv_1x1")
    )  # no edge enters node 2
    net = make_pair("nas201", cells=2).slow
    discrete = Network(genotype, channels=4, cells=2, classes=4).double()
    state = discrete.state_dict()
    kept = [n for n, op in enumerate(genotype.operations) if op != "none"]
    for name, value in net.state_dict().items():
        words = name.split(".")
        if "edges" not in words:
            if name in state:
                state[name] = value
        elif genotype.operations[int(words[3])] == PRIMITIVES[int(words[5])]:
            inner = ".".join([*words[:2], "operations", str(kept.index(int(words[3]))), *words[6:]])
            assert inner in state
            state[inner] = value
    discrete.load_state_dict(state)  # the norms keep their initial ones and zeros
    columns = torch.tensor([PRIMITIVES.index(name) for name in genotype.operations])
    x, one_hot = images(3, 3, 9, 11), {"cell": F.one_hot(columns, len(PRIMITIVES)).double()}
    for training in (True, False):
        actual, expected = discrete.train(training)(x), net.train(training)(x, one_hot)
        torch.testing.assert_close(actual, expected, **EXACT)


def test_other_channels_bypass_the_operations() -> None:
    cell = EdgewiseCell(4, ("skip_connect",), 2, False).double()
    x, weights, bypass = images(2, 4, 3, 3), images(6, 1, seed=5), images(6, seed=6)
    mixture = Mixture({"cell": weights}, bypass={"cell": bypass}).of_cell("cell", 0)
    nodes = [x]
    for target in (1, 2, 3):
        total = torch.zeros_like(x)
        for number, (source, node) in enumerate(EDGES):
            if node == target:
                total[:, :2] += weights[number] * nodes[source][:, :2]
                total[:, 2:] += bypass[number] * nodes[source][:, 2:]
        nodes.append(total[:, [0, 2, 1, 3]])  # shuffled: two groups of two
    torch.testing.assert_close(cell(x, mixture, 0.0), nodes[-1], **EXACT)


def test_the_auxiliary_skip_is_the_last_column() -> None:
    net = make_pair("nas201", auxiliary_skip=True, operations=("none", "skip_connect")).slow
    x = images(3, 3, 8, 8)
    assert net.alphas["cell"].shape == (6, 2)
    assert net.candidates == {"cell": (("none", "skip_connect"),) * 6}
    column = images(6, 1, seed=9)
    own, auxiliary = F.pad(column, (1, 1)), F.pad(column, (2, 0))
    torch.testing.assert_close(net(x, {"cell": own}), net(x, {"cell": auxiliary}), **EXACT)
    padded = F.pad(net.alphas["cell"].softmax(-1), (0, 1))
    assert torch.equal(net(x), net(x, {"cell": padded}))


def test_skip_dropout_matches_the_fast_supernet() -> None:
    pair = make_pair("nas201", operations=("skip_connect", "nor_conv_1x1"), auxiliary_skip=True)
    actual = []
    for net in pair:
        net.skip_dropout = 0.5
        torch.manual_seed(3)
        actual.append(net(images(3, 3, 8, 8)))
    torch.testing.assert_close(actual[1], actual[0], **EXACT)
    pair.fast.skip_dropout = 0.0
    assert not torch.allclose(pair.fast(images(3, 3, 8, 8)), actual[1])


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [("nor_conv_3x3", 1_531_546), ("skip_connect", 73_306), ("none", 73_306)],
)
def test_parameters_match_the_benchmark(operation: str, parameters: int) -> None:
    # 1.531546 and 0.073306 million in the benchmark's own records for CIFAR-10.
    net = Network(Genotype.from_operations(*[operation] * 6))
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(("name", "drops"), [("skip_connect", False), ("avg_pool_3x3", True)])
def test_drop_path_draws_for_the_whole_batch_and_ignores_identities(name: str, drops: bool) -> None:
    genotype, x = Genotype.from_operations(*[name] * 6), images(6, 3, 8, 8)
    net = Network(genotype, channels=2, cells=1, drop_path=0.5).double()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # so that samples are independent
    torch.manual_seed(1)
    whole = net(x)
    assert torch.allclose(net(x), whole) != drops
    torch.manual_seed(1)
    set_batch_share(net, 4, 6)
    torch.testing.assert_close(net(x[4:]), whole[4:])
    assert torch.equal(net.eval()(x), net(x))
