"""The transformer space: derived networks, points, costs and error messages."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from darts.methods.discretization import Argmax
from darts.methods.relaxation import RELAXATIONS
from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces import SPACES, SearchContext
from darts.spaces.parameters import Parameters
from darts.spaces.transformer import FEED_FORWARDS, MIXERS, Genotype, Transformer
from darts.training.cost import count_macs, count_parameters

SMALL: dict[str, Any] = {"hidden": 16, "cells": 3, "length": 12}
LANGUAGE, TEXTS = {"vocab_size": 30}, {"classes": 4, "vocab_size": 30}
both = pytest.mark.parametrize("sizes", [LANGUAGE, TEXTS], ids=["language", "classifier"])


def context_and_supernet(**options: Any) -> tuple[SearchContext, Any]:
    torch.manual_seed(0)
    space = Transformer(**SMALL | options)
    net = space.supernet(**LANGUAGE)
    return SearchContext.from_supernet(space, net), net


def random_tables(seed: int, cells: int = 3) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        group: torch.randn(cells, columns, generator=draw, dtype=torch.float64).softmax(-1)
        for group, columns in (("mixer", 7), ("feed_forward", 6))
    }


def test_the_space_is_registered() -> None:
    assert SPACES["transformer"] is Transformer
    space = Transformer()
    assert (space.cells, space.hidden, space.positions) == (4, 128, "sinusoidal")
    assert space.data_kinds == ("text", "documents")


def test_derive_keeps_the_most_probable_candidates_of_each_block() -> None:
    context, _ = context_and_supernet()
    for seed in range(10):
        tables = random_tables(seed)
        actual = context.space.derive(tables, context.candidates)
        for row, pair in enumerate(actual.blocks):
            for name, names, group in zip(pair, (MIXERS, FEED_FORWARDS), tables, strict=True):
                values = tables[group][row].tolist()
                assert values[names.index(name)] == max(values)
    even = {group: torch.full_like(table, 0.1) for group, table in random_tables(0).items()}
    lowest = Genotype((("attention_2", "relu_1"),) * 3)
    assert context.space.derive(even, context.candidates) == lowest


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mixer": torch.full((2, 7), 0.1)}, "probabilities of mixer have shape"),
        ({"feed_forward": torch.full((3, 6), float("nan"))}, "not finite"),
        ({"feed_forward": torch.full((3, 6), 2.0)}, "not within 0 and 1"),
        ({"normal": torch.ones(1, 1)}, r"must be \['feed_forward', 'mixer'\]"),
    ],
)
def test_invalid_probabilities_are_rejected(change: dict[str, Tensor], match: str) -> None:
    context, _ = context_and_supernet()
    with pytest.raises(ValueError, match=match) as caught:
        context.space.derive({**random_tables(0), **change}, context.candidates)
    assert "\n" not in str(caught.value)


def test_derive_inverts_mask() -> None:
    context, _ = context_and_supernet()
    space = context.space
    for seed in range(20):
        genotype = space.random(torch.Generator().manual_seed(seed))
        mask = space.mask(genotype, context.candidates)
        assert {group: tuple(m.shape) for group, m in mask.items()} == {
            "mixer": (3, 7),
            "feed_forward": (3, 6),
        }
        assert all(bool((m.sum(-1) == 1).all()) for m in mask.values())
        tables = {group: m.double() for group, m in mask.items()}
        assert Argmax().genotype(tables, context) == genotype
        used = space.derived_mask(tables, context.candidates)
        assert all(torch.equal(used[group], m) for group, m in mask.items())
    with pytest.raises(ValueError, match="the genotype has 1 blocks, but the supernet has 3"):
        space.mask(Genotype((("conv_3", "relu_1"),)), context.candidates)
    fewer = {"mixer": (("conv_7",),), "feed_forward": (FEED_FORWARDS,)}
    with pytest.raises(ValueError, match="conv_3 is not a candidate of a block's mixer"):
        space.mask(Genotype((("conv_3", "relu_1"),)), fewer)


def test_random_draws_uniformly() -> None:
    space, generator = Transformer(cells=1), torch.Generator().manual_seed(0)
    counts = Counter(space.random(generator) for _ in range(200 * 42))
    assert len(counts) == 42
    assert max(abs(count - 200) for count in counts.values()) < 60  # four standard deviations


def test_genotypes_and_points_correspond_one_to_one() -> None:
    space = Transformer(cells=1)
    points = list(Parameters(space.parameters()).points(9))
    genotypes = [space.decode(point) for point in points]
    expected = {Genotype(((mixer, layer),)) for mixer in MIXERS for layer in FEED_FORWARDS}
    assert set(genotypes) == expected
    assert len(points) == len(expected)
    assert [space.encode(genotype) for genotype in genotypes] == points
    assert points[0] == {
        "block0.mixer": "attention_2",
        "block0.ratio": 1,
        "block0.activation": "relu",
    }
    with pytest.raises(ValueError, match=r"the genotype has 2 blocks, but space\.cells=1"):
        space.encode(Genotype((("conv_3", "relu_1"),) * 2))


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
@pytest.mark.parametrize("name", ["flops", "parameters"])
@both
def test_expected_costs_equal_the_costs_of_the_network(
    sizes: dict[str, int], name: str, positions: str
) -> None:
    """Costs are those of one text of ``space.length`` words."""
    context, _ = context_and_supernet(positions=positions, max_length=20)
    space = context.space
    language = sizes is LANGUAGE
    cost = ExpectedCost.measured(
        space,
        context.candidates,
        classes=30 if language else 4,
        sample_shape=() if language else (30,),
        measure=MEASURES[name],
        device=torch.device("cpu"),
    )
    for seed in range(4):
        genotype = space.random(torch.Generator().manual_seed(seed))
        net = space.network(genotype, **sizes)
        expected = {
            "flops": 2 * count_macs(net, torch.ones(12, 1, dtype=torch.int64)),
            "parameters": count_parameters(net.parameters()),
        }[name]
        mask = space.mask(genotype, context.candidates)
        assert float(cost({group: m.double() for group, m in mask.items()})) == expected
    even = {
        group: torch.full_like(table, 1 / table.shape[1])
        for group, table in random_tables(0).items()
    }
    costs = {name: float(cost.tables[group][0, column]) for group, column, name in columns()}
    fixed = cost.fixed + 3 * (sum(costs[m] for m in MIXERS) / 7)
    assert float(cost(even)) == pytest.approx(fixed + 3 * sum(costs[f] for f in FEED_FORWARDS) / 6)
    tables = {group: table.requires_grad_() for group, table in random_tables(0).items()}
    cost(tables).backward()
    assert all(table.grad is not None and bool(table.grad.any()) for table in tables.values())


def columns() -> list[tuple[str, int, str]]:
    groups = {"mixer": MIXERS, "feed_forward": FEED_FORWARDS}
    return [(group, i, name) for group, names in groups.items() for i, name in enumerate(names)]


def test_macs_of_each_candidate_match_a_hand_count() -> None:
    """MACs of a text of 12 words at a model width of 16."""
    space, length, width = Transformer(**SMALL), 12, 16
    costs = {
        name: count_macs(piece.make(), torch.zeros(1, *piece.shape))
        for piece in space.pieces(classes=4, sample_shape=(30,))
        for group, column, name in columns()
        if piece.place == (group, 0, column)
    }
    # Four maps per word, the products of queries and keys, and those of weights and values.
    attention = 4 * length * width**2 + 2 * length**2 * width
    assert costs == {
        **{f"attention_{heads}": attention for heads in (2, 4, 8)},
        **{f"conv_{taps}": length * taps * width for taps in (3, 7, 15)},
        "identity": 0,
        **{name: 2 * int(name[-1]) * length * width**2 for name in FEED_FORWARDS},
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, g: s.supernet(vocab_size=9, partial=4), "no partial channels, got partial=4"),
        (lambda s, g: s.supernet(vocab_size=9, auxiliary_skip=True), "no auxiliary skip"),
        (
            lambda s, g: s.supernet(vocab_size=9, depth=0.5),
            "got depth=0.5, since each.*; set depth=1",
        ),
        (lambda s, g: s.supernet(classes=9, in_channels=3), "need vocab_size .* in_channels"),
        (lambda s, g: s.supernet(), "got neither"),
        (lambda s, g: s.network(g, vocab_size=9, auxiliary=True), "no auxiliary head"),
        (lambda s, g: s.network(g, vocab_size=9, in_channels=3), "or classes and vocab_size"),
        (lambda s, g: s.network(g, vocab_size=9, drop_path=1.5), "drop_path=1.5: must be >= 0"),
        (lambda s, g: s.pieces(classes=9, sample_shape=(3, 32, 32)), "needs texts, not images"),
        (lambda s, g: Transformer(hidden=12), "space.hidden=12: must be a multiple of 8"),
    ],
)
def test_unsupported_options_are_rejected_in_one_line(call: Any, message: str) -> None:
    space = Transformer(**SMALL)
    genotype = space.random(torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=message) as caught:
        call(space, genotype)
    assert "\n" not in str(caught.value)


@both
def test_settings_reach_supernet_and_network(sizes: dict[str, int]) -> None:
    space = Transformer(cells=2, hidden=8, positions="learned", max_length=9, dropout=0.3)
    genotype = Genotype((("conv_3", "relu_1"),) * 5)
    supernet = space.supernet(**sizes)
    network = space.network(genotype, **sizes, drop_path=0.2)
    for net in (supernet, network):
        assert net.frame.embedding.table.shape == (30, 8)
        assert net.frame.positional_encoding.table.shape == (9, 8)
        assert {net.frame.dropout, *(block.dropout for block in net.blocks)} == {0.3}
    assert (len(supernet.blocks), len(network.blocks)) == (2, 5)
    assert (network.auxiliary, network.drop_path, network.batch_share) == (None, 0.2, None)
    out = network(torch.ones(4, 2, dtype=torch.int64))
    assert (out.logits.shape == (4, 2, 30)) if sizes is LANGUAGE else (out.shape == (2, 4))


@pytest.mark.parametrize("relaxation", sorted(RELAXATIONS))
@both
def test_every_relaxation_trains_the_supernet(relaxation: str, sizes: dict[str, int]) -> None:
    torch.manual_seed(0)
    space = Transformer(**SMALL)
    net = space.supernet(**sizes)
    context = SearchContext.from_supernet(space, net)
    component = RELAXATIONS[relaxation]()
    component.prepare(net)
    out = net(torch.randint(1, 30, (3, 4)), component.mixture(net.alphas, context))
    logits = out.logits if sizes is LANGUAGE else out
    logits.square().mean().backward()
    assert bool(torch.isfinite(logits).all())
    for weight in net.weight_parameters():
        assert weight.grad is None or bool(weight.grad.isfinite().all())
    probabilities = component.probabilities(net.alphas, context)
    assert space.derive(probabilities, context.candidates)
