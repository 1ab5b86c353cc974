"""Discretizations: which edges and operations a genotype has."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from fake_supernet import FakeSupernet, Interrupted, Masks, additive, random_values
from oracles.comparing import derive_cell
from tiny_search import context_and_supernet, make_searcher
from torch import Tensor

import darts
from darts.config import ConfigError, compose
from darts.methods.discretization import Argmax, Sampling, Threshold
from darts.methods.discretization_evolution import Evolution
from darts.methods.discretization_perturbation import PerturbationSelection
from darts.recipes.checks import check_components
from darts.recipes.search import check as check_search
from darts.searching.alphas import genotype_counts
from darts.searching.paths import path_masks
from darts.spaces import SearchContext, parse_genotype
from darts.spaces.genotype import PRIMITIVES
from darts.spaces.transformer import Transformer

CONTEXT = context_and_supernet("cnn")[0]
SKIP = PRIMITIVES.index("skip_connect")


def tables(seed: int, favor: float = 3.0) -> dict[str, Tensor]:
    """Return probabilities that favor skip connections in both cells."""
    generator = torch.Generator().manual_seed(seed)
    alphas = torch.randn(2, 14, 8, generator=generator, dtype=torch.float64)
    alphas[:, :, SKIP] += favor
    return dict(zip(("normal", "reduce"), alphas.softmax(-1), strict=True))


def slow(table: Tensor, limit: int) -> set[tuple[int, str]]:
    """Return edges and operations of the normal cell; remove the weakest skip and repeat."""
    rows = [list(row) for row in table.tolist()]
    while True:
        kept = derive_cell(rows, 4)
        skips = sorted(entry for entry in kept if entry[2] == "skip_connect")
        if len(skips) <= limit:
            return {(edge, name) for _, edge, name in kept}
        rows[skips[0][1]][SKIP] = 0.0


@pytest.mark.parametrize("limit", range(9))
def test_skip_limit_matches_the_slow_implementation(limit: int) -> None:
    places = {pair: edge for edge, pair in enumerate(CONTEXT.edges["normal"])}
    for seed in range(6):
        probabilities = tables(seed, favor=1.5)
        before = {group: table.clone() for group, table in probabilities.items()}
        actual = Argmax(skip_limit=limit).genotype(probabilities, CONTEXT)
        assert actual.count("skip_connect", "normal") <= limit
        kept = {(places[source, node], name) for source, node, name in actual.edges("normal")}
        assert kept == slow(probabilities["normal"], limit)
        free = Argmax().genotype(probabilities, CONTEXT)
        assert actual.reduce == free.reduce  # the limit applies to the normal cell only
        assert all(probabilities[group].equal(before[group]) for group in before)


def test_skip_limit_keeps_skips_without_alternative() -> None:
    candidates = dict.fromkeys(("normal", "reduce"), (("skip_connect", "sep_conv_3x3"),) * 14)
    context: SearchContext = dataclasses.replace(CONTEXT, candidates=candidates)
    table = torch.tensor([[0.8, 0.2]] * 14)
    table[0] = torch.tensor([1.0, 0.0])
    table[1] = torch.tensor([1.0, 0.0])
    probabilities = {"normal": table, "reduce": table}
    for limit, wanted in ((0, 2), (1, 2), (2, 2), (4, 4)):
        actual = Argmax(skip_limit=limit).genotype(probabilities, context)
        assert actual.count("skip_connect", "normal") == wanted
    only = torch.tensor([[1.0, 0.0]] * 14)
    actual = Argmax(skip_limit=2).genotype({"normal": only, "reduce": only}, context)
    assert actual.count("skip_connect", "normal") == 8


def test_skip_limit_counts_identity_blocks_of_transformers() -> None:
    space = Transformer(cells=3)
    net = space.supernet(vocab_size=5)
    context = SearchContext.from_supernet(space, net)
    tables = {name: torch.full(alpha.shape, 0.01) for name, alpha in net.alphas.items()}
    for row, names in enumerate(net.candidates["mixer"]):
        tables["mixer"][row, names.index("identity")] = 0.5 + 0.1 * row
    for limit in (3, 1, 0):
        actual = Argmax(skip_limit=limit).genotype(tables, context)
        assert genotype_counts(actual)["genotype/blocks/identity"] == limit


def test_pairs_keep_the_two_strongest_operations_into_each_node() -> None:
    double = 0
    for seed in range(20):
        probabilities = tables(seed, favor=0)
        genotype = Argmax(edges="pairs").genotype(probabilities, CONTEXT)
        for cell in ("normal", "reduce"):
            table, expected = probabilities[cell].tolist(), []
            for node in range(2, 6):
                pairs = sorted(
                    (table[edge][column], source, PRIMITIVES[column])
                    for edge, (source, target) in enumerate(CONTEXT.edges[cell])
                    for column in range(1, 8)
                    if target == node
                )
                expected += [(source, node, name) for _, source, name in pairs[:-3:-1]]
            assert genotype.edges(cell) == expected
            double += sum(a[0] == b[0] for a, b in zip(expected[::2], expected[1::2], strict=True))
    assert double > 5  # both on one edge


def test_all_edges_keep_their_strongest_operation() -> None:
    genotype = Argmax(edges="all").genotype(tables(1, favor=0), CONTEXT)
    for cell in ("normal", "reduce"):
        names = [PRIMITIVES[int(row.argmax())] for row in tables(1, favor=0)[cell]]
        assert [name for _, _, name in genotype.edges(cell)] == names
        assert [edge[:2] for edge in genotype.edges(cell)] == list(CONTEXT.edges[cell])
    mask = CONTEXT.space.mask(genotype, CONTEXT.candidates)
    assert all(torch.equal(m.float().argmax(1), p.argmax(1)) for m, p in zip(
        mask.values(), tables(1, favor=0).values(), strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["space=nas201"], "discretize.edges=pairs: space=nas201 has no such rule"),
        (["penalty.flops=1e6"], "penalty: expected costs assume discretize.edges=two, not pairs"),
        (["discretize.skip_limit=2"], "discretize.skip_limit=2 needs discretize.edges=two"),
    ],
)
def test_rules_of_edges_are_refused_where_they_do_not_fit(more: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_search(compose("search", ["dataset=synthetic", "discretize.edges=pairs", *more]))


@pytest.mark.parametrize("rule", ["pairs", "all"])
def test_a_cell_with_other_edges_is_searched_and_retrained(rule: str, cwd: Path) -> None:
    small = ["dataset.samples=48", "space.channels=4", "space.cells=3", "tracking.figures=false"]
    keys = [*small, f"discretize.edges={rule}"]
    run = darts.search(data="synthetic", epochs=1, out="a", overrides=keys)
    assert len(run.genotype.edges("normal")) == {"pairs": 8, "all": 14}[rule]
    darts.retrain(run, epochs=1, out="b", overrides=[*small, "auxiliary=0"])
    assert parse_genotype((cwd / "b" / "genotype.json").read_text()) == run.genotype


SEP = 4  # column of sep_conv_3x3


def sigmoids(normal: dict[int, float]) -> dict[str, torch.Tensor]:
    """Return sigmoids of both cells; ``normal`` sets sep_conv_3x3 on some edges."""
    table = torch.full((14, 8), 0.05)
    table[:, SEP] = 0.1
    for edge, value in normal.items():
        table[edge, SEP] = value
    return {"normal": table, "reduce": torch.full((14, 8), 0.9)}


def test_weak_edges_and_nodes_without_edges_disappear() -> None:
    # Edges 0 and 1 enter node 2, edges 2 to 4 node 3, edges 5 to 8 node 4, edges 9 to 13 node 5.
    probabilities = sigmoids({0: 0.9, 1: 0.84, 5: 0.95, 6: 0.86, 7: 0.99, 12: 0.9})
    genotype = Threshold().genotype(probabilities, CONTEXT)
    assert genotype.normal == (
        ("sep_conv_3x3", 0), ("none", 1),
        ("none", 0), ("none", 1),
        ("sep_conv_3x3", 2), ("sep_conv_3x3", 0),  # 0.99 and 0.95; 0.86 is the third
        ("none", 3), ("none", 0),  # node 3 does not exist
    )  # fmt: skip
    assert genotype.normal_concat == (2, 4)
    assert all(name == "max_pool_3x3" for name, _ in genotype.reduce)
    assert genotype.reduce_concat == (2, 3, 4, 5)


def test_the_threshold_itself_is_kept() -> None:
    probabilities = {"normal": torch.full((14, 8), 0.5), "reduce": torch.full((14, 8), 0.5)}
    assert Threshold(threshold=0.5).genotype(probabilities, CONTEXT).normal_concat == (2, 3, 4, 5)


def test_a_cell_keeps_at_least_one_edge() -> None:
    genotype = Threshold().genotype(sigmoids({6: 0.4, 12: 0.5}), CONTEXT)
    # Edge 12 is stronger, but reads node 3, which would have no input.
    assert [pair for pair in genotype.normal if pair[0] != "none"] == [("sep_conv_3x3", 1)]
    assert genotype.normal_concat == (4,)


def test_a_genotype_with_missing_edges_has_a_path_in_the_supernet() -> None:
    seven = "[max_pool_3x3,avg_pool_3x3,skip_connect,sep_conv_3x3,sep_conv_5x5]"
    searcher = make_searcher("method=fair_darts", "space.cells=1", f"space.candidates={seven}")
    table = torch.full((14, 5), 0.1)
    table[0, 3] = 0.9
    probabilities = {"normal": table, "reduce": table}
    genotype = Threshold().genotype(probabilities, searcher.context)
    masks = path_masks(genotype, probabilities, searcher.context)
    assert masks["normal"].nonzero().tolist() == [[0, 3]]


def test_spaces_that_keep_all_edges_refuse_it() -> None:
    config = compose("search", ["space=nas201", "dataset=synthetic", "discretize=threshold"])
    with pytest.raises(ConfigError, match="discretize=threshold: genotypes of space=nas201 keep"):
        check_components(config)
    with pytest.raises(ValueError, match="genotypes of space=nas201 keep all edges"):
        config.space.without_improbable_edges(None, {}, {}, 0.5)


def upcoming_samples(trained: FakeSupernet, count: int) -> list[Any]:
    state = torch.get_rng_state()
    actual = [trained.context.space.random(torch.default_generator) for _ in range(count)]
    torch.set_rng_state(state)
    return actual


def test_best_sample_is_returned() -> None:
    for space in ("cnn", "nas201"):
        value = additive(random_values(space, 0))
        trained = FakeSupernet(space, value)
        torch.manual_seed(1)
        genotypes = upcoming_samples(trained, 50)
        actual = Sampling(samples=50).final_genotype(trained)
        candidates = trained.context.candidates
        scores = [value(trained.context.space.mask(genotype, candidates)) for genotype in genotypes]
        assert actual == genotypes[scores.index(max(scores))]
        assert trained.context.masks == {}


def test_duplicate_samples_are_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = FakeSupernet("nas201", lambda masks: 0.0)
    same = upcoming_samples(trained, 1)[0]
    monkeypatch.setattr(trained.context.space, "random", lambda generator: same)
    assert Sampling(samples=20).final_genotype(trained) == same
    assert trained.log == [1, 0, "save"]


@pytest.mark.parametrize("leave", [1, 17, 30, 32])
@pytest.mark.parametrize(
    "rule",
    [Sampling(samples=30, finalists=4), Evolution(samples=34, population=5)],
    ids=["sampling", "evolution"],
)
def test_a_resumed_choice_ends_like_an_uninterrupted_one(
    rule: Sampling | Evolution, leave: int
) -> None:
    value = additive(random_values("cnn", 0))
    torch.manual_seed(3)
    whole = FakeSupernet("cnn", value)
    wanted = rule.final_genotype(whole)
    torch.manual_seed(3)
    broken = FakeSupernet("cnn", value, interrupt_at=leave)
    with pytest.raises(Interrupted):
        rule.final_genotype(broken)
    resumed = FakeSupernet("cnn", value)
    resumed.state = copy.deepcopy(broken.state)
    torch.manual_seed(99)
    assert rule.final_genotype(resumed) == wanted
    assert resumed.state == whole.state
    assert broken.log + resumed.log == whole.log


def test_evolution_finds_better_architectures_than_chance() -> None:
    values = random_values("nas201", 0)
    value = additive(values)
    trained = FakeSupernet("nas201", value)
    torch.manual_seed(0)
    best = Evolution(samples=100, population=10, batches=1).final_genotype(trained)
    assert trained.log == [1] * 100 + ["save"]
    candidates, space = trained.context.candidates, trained.context.space
    drawn = [value(space.mask(g, candidates)) for g in upcoming_samples(trained, 100)]
    optimum = sum(float(table.max(-1).values.sum()) for table in values.values())
    assert max(drawn) < 0.96 * optimum < value(space.mask(best, candidates))
    assert len(set(trained.state["texts"])) == 100


def test_evolution_keeps_hard_limits() -> None:
    trained = FakeSupernet("nas201", additive(random_values("nas201", 0)))
    limit = Mock(allows=lambda genotype: genotype.count("nor_conv_3x3") == 0)
    limit.restrict = lambda probabilities: {
        group: p * torch.tensor([[name != "nor_conv_3x3" for name in row] for row in rows])
        for (group, p), rows in zip(
            probabilities.items(), trained.context.candidates.values(), strict=True
        )
    }
    trained.context.limit = limit
    Evolution(samples=50).final_genotype(trained)
    assert len(trained.state["texts"]) == 50
    assert "nor_conv_3x3" not in "".join(trained.state["texts"])


@pytest.mark.parametrize("seed", range(3))
def test_each_edge_keeps_its_most_valuable_operation(seed: int) -> None:
    values = random_values("cnn", seed)
    for table in values.values():
        table[:, 0] = 2.0  # none is the most valuable operation, but not a candidate
    trained = FakeSupernet("cnn", additive(values))
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    for cell in ("normal", "reduce"):
        best = derive_cell(values[cell].tolist(), 4)
        wanted = {(*CONTEXT.edges[cell][edge], name) for _, edge, name in best}
        assert set(genotype.edges(cell)) == wanted
        kept = trained.context.masks[cell]
        assert kept.sum() == 8
        assert kept.sum(1).max() == 1


@pytest.mark.parametrize("seed", range(3))
def test_nas201_decides_all_edges_and_may_select_none(seed: int) -> None:
    values = random_values("nas201", seed)
    values["cell"][1, 0] = 2.0
    trained = FakeSupernet("nas201", additive(values))
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    names = trained.context.candidates["cell"][0]
    assert list(genotype.operations) == [names[int(k)] for k in values["cell"].argmax(1)]
    assert genotype.operations[1] == "none"


def test_operations_are_selected_by_their_joint_score() -> None:
    """Two edges must have the same operation; separate scores would select different ones."""

    def value(masks: Masks) -> float:
        first, second = masks["cell"][0].double(), masks["cell"][1].double()
        return float(10 * first @ second + first[1] - second[1])

    for seed in range(5):
        torch.manual_seed(seed)
        genotype = PerturbationSelection(tune=0).final_genotype(FakeSupernet("nas201", value))
        assert genotype.operations[0] == genotype.operations[1]


def test_edges_are_removed_one_by_one() -> None:
    """Two of three edges into a node are valuable only together, so the third is removed."""
    operation = 4

    def value(masks: Masks) -> float:
        edges = masks["normal"].any(1)
        # Node 3 has the edges 2, 3 and 4. Node 4 has 5 to 8 and must keep 5 and 8.
        return float(
            3 * (edges[2] and edges[4])
            + edges[3].int()
            + 2 * (edges[5] and edges[8])
            + 0.5 * edges[5:9].sum()
            + 0.01 * masks["normal"][:, operation].sum()
        )

    trained = FakeSupernet("cnn", value)
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    entering: dict[int, set[int]] = {node: set() for node in range(2, 6)}
    for source, node, name in genotype.edges("normal"):
        entering[node].add(source)
        assert name == trained.context.candidates["normal"][0][operation]
    assert entering[3] == {0, 2}
    assert entering[4] == {0, 3}


def test_dropped_candidates_do_not_compete() -> None:
    """An edge with a single candidate needs no score."""
    values = random_values("nas201", 0)
    trained = FakeSupernet("nas201", additive(values))
    kept = torch.ones(6, 5, dtype=torch.bool)
    best = values["cell"].argmax(1)
    kept[range(6), best] = False
    kept[3] = torch.tensor([False, False, True, False, False])
    trained.context.masks["cell"] = kept
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    second = values["cell"].masked_fill(~kept, -1).argmax(1).tolist()
    names = trained.context.candidates["cell"][0]
    assert list(genotype.operations) == [names[k] for k in second]
    assert genotype.operations[3] == names[2]
    assert sum(isinstance(entry, int) for entry in trained.log) == 5 * 4


def test_supernet_is_tuned_and_saved_after_each_decision() -> None:
    trained = FakeSupernet("nas201", additive(random_values("nas201", 1)))
    PerturbationSelection(tune=3, tune_lr=0.01, batches=2).final_genotype(trained)
    scores, decision = [2] * 5, [("train", 3, 0.01), "save"]
    # There is no tuning after the last decision.
    assert trained.log == (scores + decision) * 5 + [*scores, "save"]


@pytest.mark.parametrize("space", ["cnn", "nas201"])
@pytest.mark.parametrize("saves", [1, 4])
def test_resumed_selection_ends_like_an_uninterrupted_one(space: str, saves: int) -> None:
    """The score depends on earlier decisions."""
    values = random_values(space, 2)

    def value(masks: Masks) -> float:
        return sum(
            float((values[g] * m).sum() + torch.sin(3 * (values[g] * m).sum(1)).sum())
            for g, m in masks.items()
        )

    torch.manual_seed(0)
    whole = FakeSupernet(space, value)
    wanted = PerturbationSelection(tune=0).final_genotype(whole)
    torch.manual_seed(0)
    broken = FakeSupernet(space, value, interrupt_after_saves=saves)
    with pytest.raises(Interrupted):
        PerturbationSelection(tune=0).final_genotype(broken)
    resumed = FakeSupernet(space, value)
    resumed.state = copy.deepcopy(broken.state)
    resumed.context.masks = copy.deepcopy(broken.context.masks)
    torch.manual_seed(99)  # nothing is sampled again
    assert PerturbationSelection(tune=0).final_genotype(resumed) == wanted
    assert whole.log.count("save") == saves + resumed.log.count("save")


def test_both_cells_are_decided_before_the_supernet_is_trained() -> None:
    """14 edges and 3 nodes of each cell: 17 pairs of decisions, and training after 16 of them."""
    trained = FakeSupernet("cnn", additive(random_values("cnn", 0)))
    told: list[str] = []
    trained.info = told.append  # type: ignore[method-assign]
    PerturbationSelection(tune=2).final_genotype(trained)
    assert trained.log.count(("train", 2, 0.0025)) == 16
    groups = [line.rsplit(" ", 1)[-1] for line in told]
    assert groups == ["normal", "reduce"] * 17
