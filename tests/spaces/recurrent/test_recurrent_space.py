"""The recurrent space: derived cells, points, costs and error messages."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from darts.methods.discretization import Argmax
from darts.methods.relaxation import RELAXATIONS
from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces import SPACES, SearchContext, space_of
from darts.spaces.parameters import Parameters
from darts.spaces.recurrent import ACTIVATIONS, PRIMITIVES, PUBLISHED, Genotype, Recurrent
from darts.training.cost import count_macs, count_parameters

SMALL: dict[str, Any] = {"nodes": 3, "embedding": 4, "hidden": 4}
WORDS = 9


def context_and_supernet(**options: Any) -> tuple[SearchContext, Any]:
    torch.manual_seed(0)
    space = Recurrent(**SMALL | options)
    net = space.supernet(vocab_size=WORDS)
    return SearchContext.from_supernet(space, net), net


def random_table(seed: int, edges: int = 6) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(edges, 5, generator=draw, dtype=torch.float64).softmax(-1)


def test_the_space_is_registered_with_the_published_settings() -> None:
    assert SPACES["recurrent"] is Recurrent
    space = Recurrent()
    assert (space.nodes, space.embedding, space.hidden, space.cells) == (8, 300, 300, 1)
    assert (space.input_dropout, space.hidden_dropout, space.output_dropout) == (0.75, 0.25, 0.75)
    standard = space_of(PUBLISHED["ENAS_RNN"].genotype)
    assert (standard.name, standard.nodes, standard.hidden) == ("recurrent", 11, 850)  # type: ignore[attr-defined]


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


def test_derive_ranks_edges_by_probability_not_by_alpha() -> None:
    """An edge on which none dominates is weak, however large its other alphas are."""
    context, _ = context_and_supernet(nodes=2)
    alphas = torch.zeros(3, 5)
    alphas[1] = torch.tensor([9.0, 3.0, 2.0, 1.0, 0.0])
    alphas[2] = torch.tensor([0.0, 0.0, 0.0, 2.0, 0.0])
    table = RELAXATIONS["softmax"]().probabilities({"recurrent": alphas}, context)
    actual = context.space.derive(table, context.candidates)
    assert actual.recurrent == (("tanh", 0), ("sigmoid", 1))
    even = {"recurrent": torch.full((3, 5), 0.2)}
    assert context.space.derive(even, context.candidates).recurrent == (("tanh", 0), ("tanh", 0))


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (torch.full((5, 5), 0.2), "have shape"),
        (torch.full((6, 5), float("nan")), "not finite"),
        (torch.full((6, 5), 2.0), "not within 0 and 1"),
    ],
)
def test_invalid_probabilities_are_rejected(table: Tensor, match: str) -> None:
    context, _ = context_and_supernet()
    with pytest.raises(ValueError, match=match):
        context.space.derive({"recurrent": table}, context.candidates)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ((PRIMITIVES,) * 4, "4 edges form no recurrent cell"),
        ((), "0 edges form no recurrent cell"),
        ((("none",),), "contain no activation"),
        ((("tanh", "tanh"),), "must be distinct"),
        ((("tanh", "conv"),), "must be distinct and from none, tanh"),
    ],
)
def test_invalid_candidates_are_rejected(rows: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Recurrent().derive({"recurrent": torch.ones(len(rows), 1)}, {"recurrent": rows})
    with pytest.raises(ValueError, match=r"groups \['normal'\] must be"):
        Recurrent().derive({"normal": torch.ones(1, 1)}, {"recurrent": (PRIMITIVES,)})


def test_derive_inverts_mask() -> None:
    context, _ = context_and_supernet()
    space = context.space
    for seed in range(20):
        genotype = space.random(torch.Generator().manual_seed(seed))
        mask = space.mask(genotype, context.candidates)
        assert mask["recurrent"].shape == (6, 5)
        assert [int(rows.sum()) for rows in mask["recurrent"].split([1, 2, 3])] == [1, 1, 1]
        table = {"recurrent": mask["recurrent"].double()}
        assert Argmax().genotype(table, context) == genotype
        assert torch.equal(
            space.derived_mask(table, context.candidates)["recurrent"], mask["recurrent"]
        )
    four = Genotype([("tanh", 0), ("tanh", 0), ("tanh", 0), ("relu", 3)], (1,))
    with pytest.raises(ValueError, match="relu from 3 to 4 is not a candidate"):
        space.mask(four, context.candidates)


def test_a_one_hot_mixture_equals_the_discrete_network() -> None:
    """Mixing weights of 1 on the candidates of a genotype, 0 elsewhere."""
    context, net = context_and_supernet(
        input_dropout=0.0, hidden_dropout=0.0, output_dropout=0.0, embedding_dropout=0.0
    )
    genotype = context.space.random(torch.Generator().manual_seed(3))
    network = context.space.network(genotype, vocab_size=WORDS)
    network.load_state_dict({name: net.state_dict()[name] for name in network.state_dict()})
    with torch.no_grad():
        net.eval()
        net.cell.norm.eps = 0.0  # with initial statistics, the norm is the identity
        mask = context.space.mask(genotype, context.candidates)["recurrent"].float()
        tokens = torch.randint(WORDS, (5, 2))
        torch.testing.assert_close(net(tokens, {"recurrent": mask}).raw, network(tokens).raw)


def test_random_draws_uniformly() -> None:
    space, generator = Recurrent(nodes=2), torch.Generator().manual_seed(0)
    counts = Counter(space.random(generator) for _ in range(6400))
    assert len(counts) == 4 * 8
    assert max(abs(count - 200) for count in counts.values()) < 60  # four standard deviations


def test_genotypes_and_points_correspond_one_to_one() -> None:
    space = Recurrent(nodes=3)
    points = list(Parameters(space.parameters()).points(9))
    genotypes = [space.decode(point) for point in points]
    assert len(points) == len(set(genotypes)) == 4**3 * 6
    assert [space.encode(genotype) for genotype in genotypes] == points
    expected = {
        tuple(zip(names, sources, strict=True))
        for names in itertools.product(ACTIVATIONS, repeat=3)
        for sources in itertools.product((0,), (0, 1), (0, 1, 2))
    }
    assert {genotype.recurrent for genotype in genotypes} == expected


def test_encode_rejects_genotypes_of_other_sizes() -> None:
    for genotype in (PUBLISHED["ENAS_RNN"].genotype, Genotype([("tanh", 0)] * 8, (1, 2))):
        with pytest.raises(ValueError, match=r"must have space\.nodes=8 nodes, and its output"):
            Recurrent().encode(genotype)
    Recurrent().encode(PUBLISHED["DARTS_RNN_V1"].genotype)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["flops", "parameters"])
def test_expected_costs_equal_the_costs_of_the_network(name: str, tied: bool) -> None:
    """Costs per token are the same for all cells, because each node has one product."""
    context, _ = context_and_supernet(tied=tied)
    space = context.space
    cost = ExpectedCost.measured(
        space,
        context.candidates,
        classes=WORDS,
        sample_shape=(),
        measure=MEASURES[name],
        device=torch.device("cpu"),
    )
    for seed in range(4):
        genotype = space.random(torch.Generator().manual_seed(seed))
        net = space.network(genotype, vocab_size=WORDS)
        expected = {
            "flops": 2 * count_macs(net, torch.zeros(1, 1, dtype=torch.int64)),
            "parameters": count_parameters(net.parameters()),
        }[name]
        mask = space.mask(genotype, context.candidates)
        assert float(cost({g: m.double() for g, m in mask.items()})) == expected
        assert float(cost({"recurrent": random_table(seed)})) == pytest.approx(expected)
    macs = 8 * 8 + 3 * 4 * 8 + 4 * WORDS
    embedding = 0 if tied else 4 * WORDS
    assert expected == {"flops": 2 * macs, "parameters": macs + WORDS + embedding}[name]


def test_expected_usage_sums_to_one_edge_per_node() -> None:
    context, _ = context_and_supernet()
    table = random_table(0).requires_grad_()
    usage = context.space.expected_usage({"recurrent": table}, context.candidates)["recurrent"]
    assert [float(rows.detach().sum()) for rows in usage.split([1, 2, 3])] == pytest.approx(
        [1, 1, 1]
    )
    assert not usage[:, 0].any()
    usage[0, 1].backward()
    assert table.grad is not None
    assert table.grad[0, 1:].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, g: s.supernet(vocab_size=9, partial=4), "no partial channels, got partial=4"),
        (lambda s, g: s.supernet(vocab_size=9, auxiliary_skip=True), "no auxiliary skip"),
        (lambda s, g: s.supernet(vocab_size=9, depth=0.5), "got depth=0.5, since .*; set depth=1"),
        (lambda s, g: s.network(g, vocab_size=9, auxiliary=True), "no auxiliary head"),
        (lambda s, g: s.network(g, vocab_size=9, drop_path=0.2), "drop_path=0.2: networks"),
        (lambda s, g: s.pieces(classes=9, sample_shape=(3, 32, 32)), "needs tokens, not images"),
    ],
)
def test_unsupported_options_are_rejected_in_one_line(call: Any, message: str) -> None:
    space = Recurrent(**SMALL)
    genotype = space.random(torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=message) as caught:
        call(space, genotype)
    assert "\n" not in str(caught.value)


def test_settings_reach_supernet_and_network() -> None:
    space = Recurrent(nodes=2, embedding=5, hidden=6, tied=False, word_dropout=0.1)
    genotype = space.random(torch.Generator().manual_seed(0))
    supernet, network = space.supernet(vocab_size=9), space.network(genotype, vocab_size=9)
    for net in (supernet, network):
        assert net.words.embedding.shape == (9, 5)
        assert net.cell.input_weight.shape == (5, 12)
        assert net.words.dropouts.word == 0.1
        assert net.cell.dropouts == space.dropouts
    assert (network.auxiliary, network.drop_path, network.batch_share) == (None, 0.0, None)


@pytest.mark.parametrize("relaxation", ["softmax", "gumbel", "dirichlet", "sigmoid", "uniform"])
def test_every_relaxation_trains_the_supernet(relaxation: str) -> None:
    context, net = context_and_supernet()
    component = RELAXATIONS[relaxation]()
    component.prepare(net)
    mixture = component.mixture(net.alphas, context)
    logits = net(torch.randint(WORDS, (3, 4)), mixture).logits
    logits.square().mean().backward()
    assert bool(torch.isfinite(logits).all())
    probabilities = component.probabilities(net.alphas, context)
    assert context.space.derive(probabilities, context.candidates)
