"""DARTS-PT on a supernet with a known score."""

from __future__ import annotations

import copy

import pytest
import torch
from fake_supernet import FakeSupernet, Interrupted, Masks, additive, random_values

from darts.methods.discretization_perturbation import PerturbationSelection


def best_of_cnn(values: Masks, names: tuple[str, ...]) -> dict[str, set[tuple[int, int, str]]]:
    """Return, by cell, the best operation of each edge except none, of the best two edges."""
    actual = {}
    for group, table in values.items():
        chosen = set()
        first = 0
        for node in range(2, 6):
            edges = []
            for source in range(node):
                row = table[first + source].tolist()
                value, name = max((v, n) for v, n in zip(row, names, strict=True) if n != "none")
                edges.append((value, source, node, name))
            chosen |= {edge[1:] for edge in sorted(edges)[-2:]}
            first += node
        actual[group] = chosen
    return actual


@pytest.mark.parametrize("seed", range(3))
def test_each_edge_keeps_its_most_valuable_operation(seed: int) -> None:
    values = random_values("cnn", seed)
    for table in values.values():
        table[:, 0] = 2.0  # none is the most valuable operation, but not a candidate
    trained = FakeSupernet("cnn", additive(values))
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    wanted = best_of_cnn(values, trained.context.candidates["normal"][0])
    for cell in ("normal", "reduce"):
        assert set(genotype.edges(cell)) == wanted[cell]
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
