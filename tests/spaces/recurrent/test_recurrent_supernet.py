"""Genotypes of recurrent cells and their space, and supernets that equal their oracle."""

from __future__ import annotations

import copy
import itertools
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from oracles.comparing import assert_same, gradients
from oracles.recurrent_supernet import EdgewiseSupernet
from torch import Tensor, nn

from darts.spaces import SearchContext
from darts.spaces.cnn import PUBLISHED as CNN
from darts.spaces.describe import difference, is_chain
from darts.spaces.recurrent import PUBLISHED, DropoutRates, Genotype, Recurrent
from darts.spaces.recurrent.cell import ModelSettings
from darts.spaces.recurrent.genotype import PRIMITIVES
from darts.spaces.recurrent.supernet import Supernet

PAIRS: Any = [("tanh", 0), ("relu", 1), ("identity", 1)]
CELL = Genotype(PAIRS, range(1, 4))


def test_the_order_of_outputs_does_not_matter() -> None:
    other = Genotype(PAIRS, [3, 1, 2])
    assert other != CELL
    assert other.canonical() == CELL.canonical()
    assert other.canonical() != Genotype(PAIRS, [3, 1]).canonical()
    assert str(other).endswith("concat=[3, 1, 2])")


def test_a_sequence_of_nodes_with_several_outputs_is_not_a_chain() -> None:
    row: Any = [("tanh", 0), ("tanh", 1)]
    assert not is_chain(Genotype(row, (1, 2)), "recurrent")
    assert is_chain(Genotype(row, (2,)), "recurrent")
    assert difference(Genotype(row, (1, 2)), Genotype(row, (2,))) == [
        "recurrent, output: node 1, node 2 vs. node 2"
    ]


def test_published_entries_are_complete() -> None:
    assert set(PUBLISHED) == {"DARTS_RNN_V1", "DARTS_RNN_V2", "ENAS_RNN"}
    assert not set(PUBLISHED) & set(CNN)
    for name, entry in PUBLISHED.items():
        assert entry.name == name
        assert 55 < float(entry.result) < 59


THREE_NODES: dict[str, Any] = {"nodes": 3, "embedding": 4, "hidden": 4}
WORDS = 9


def context_and_supernet(**options: Any) -> tuple[SearchContext, Any]:
    torch.manual_seed(0)
    space = Recurrent(**THREE_NODES | options)
    net = space.supernet(vocab_size=WORDS)
    return SearchContext.from_supernet(space, net), net


def random_table(seed: int, edges: int = 6) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(edges, 5, generator=draw, dtype=torch.float64).softmax(-1)


@pytest.mark.parametrize("seed", range(20))
def test_derive_keeps_the_most_probable_candidate_of_each_node(seed: int) -> None:
    context, _ = context_and_supernet()
    table = random_table(seed)
    table[:, 0] += 0.5 * (seed % 2)  # none is never kept, however probable
    table = table / table.sum(-1, keepdim=True)
    actual = context.space.derive({"recurrent": table}, context.candidates)
    first = 0
    for node, pair in enumerate(actual.recurrent, 1):
        choices = itertools.product(range(node), range(1, 5))
        source, column = max(choices, key=lambda c: float(table[first + c[0], c[1]]))
        assert pair == (PRIMITIVES[column], source)
        first += node
    assert actual.outputs == (1, 2, 3)


def test_encode_rejects_genotypes_of_other_sizes() -> None:
    for genotype in (PUBLISHED["ENAS_RNN"].genotype, Genotype([("tanh", 0)] * 8, (1, 2))):
        with pytest.raises(ValueError, match=r"must have space\.nodes=8 nodes, and its output"):
            Recurrent().encode(genotype)
    Recurrent().encode(PUBLISHED["DARTS_RNN_V1"].genotype)


def test_expected_usage_sums_to_one_edge_per_node() -> None:
    context, _ = context_and_supernet()
    table = random_table(0).requires_grad_()
    usage = context.space.expected_usage({"recurrent": table}, context.candidates)["recurrent"]
    sums = [float(rows.detach().sum()) for rows in usage.split([1, 2, 3])]
    assert sums == pytest.approx([1, 1, 1])
    assert not usage[:, 0].any()
    usage[0, 1].backward()
    assert table.grad[0, 1:].any()


SMALL: dict[str, Any] = {"embedding": 5, "hidden": 5}
WITH_DROPOUT = DropoutRates(word=0.2, embedding=0.3, input=0.4, hidden=0.3, output=0.4)


class Batch(NamedTuple):
    """Tokens ``(T, B)``, their targets ``(T, B)``, and the initial hidden state ``(B, H)``."""

    tokens: Tensor
    targets: Tensor
    hidden: Tensor


def make(supernet_class: Any, nodes: int = 3, **options: Any) -> Any:
    """Return a float64 supernet with large seeded weights and alphas."""
    torch.manual_seed(0)
    net = supernet_class(WORDS, ModelSettings(**SMALL | options), nodes)
    nn.init.normal_(net.alphas["recurrent"])  # distinct rows, so that swapped rows are detected
    with torch.no_grad():
        for weight in net.weight_parameters():
            weight.mul_(20)  # so that gates saturate
    return net.double()


def batch(seed: int = 1, steps: int = 4, size: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(WORDS, (steps + 1, size), generator=draw)
    hidden = torch.randn(size, SMALL["hidden"], generator=draw, dtype=torch.float64)
    return Batch(tokens[:-1], tokens[1:], hidden)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropouts": WITH_DROPOUT},
    "one node": {"nodes": 1},
    "eight nodes": {"nodes": 8},
    "untied": {"embedding": 3, "tied": False},
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_outputs_gradients_and_running_statistics_equal_the_oracle(
    options: dict[str, Any], training: bool
) -> None:
    oracle, fast = make(EdgewiseSupernet, **options), make(Supernet, **options)
    actual = []
    for net in (oracle, fast):
        if not training:  # change the running statistics first
            torch.manual_seed(2)
            net(batch(2).tokens)
        net.train(training)
        torch.manual_seed(5)
        out = net(batch().tokens, hidden=batch().hidden)
        loss = F.cross_entropy(out.logits.flatten(0, 1), batch().targets.flatten())
        loss = loss + (out.raw[1:] - out.raw[:-1]).square().mean()
        (loss + out.dropped.square().mean() + out.hidden.square().mean()).backward()
        torch.manual_seed(5)
        actual.append(copy.deepcopy(net)(batch().tokens, hidden=batch().hidden)._asdict())
    assert_same(actual[1], actual[0])
    assert_same(gradients(fast), gradients(oracle))
    assert_same(dict(fast.named_buffers()), dict(oracle.named_buffers()))
    updates = int(fast.cell.norm.num_batches_tracked)
    assert updates == 4 * (fast.cell.nodes + 1)  # steps of a sequence times states of a cell


def test_the_default_supernet_has_the_published_size() -> None:
    """300 units, 10,000 words, 36 edges with 5 candidates."""
    net = Recurrent().supernet(vocab_size=10_000)
    weights = 10_000 * 300 + 10_000 + 600 * 600 + 8 * 300 * 600
    assert sum(weight.numel() for weight in net.weight_parameters()) == weights
    assert net.candidates["recurrent"] == (("none", "tanh", "relu", "sigmoid", "identity"),) * 36
    assert net.edges["recurrent"][:6] == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert net.edges["recurrent"][-1] == (7, 8)
    for weight in net.weight_parameters():
        assert float(weight.detach().abs().max()) <= 0.04
    assert float(net.words.bias.detach().abs().max()) == 0
