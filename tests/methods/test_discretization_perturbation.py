"""DARTS-PT: the operations, then the edges, without which a known score falls most."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from made_up_supernet import Interrupted, MadeUp, Masks, done_by, told_by, worths

from darts.methods.discretization_argmax import Argmax
from darts.methods.discretization import Discretization, SearchedSupernet
from darts.methods.discretization_perturbation import PerturbationSelection


def additive(worth: Masks) -> Callable[[Masks], float]:
    """The sum of the worths of all that is kept: without an operation it falls by its worth."""
    return lambda masks: float(sum((worth[group] * mask).sum() for group, mask in masks.items()))


def best_of_cnn(worth: Masks, names: tuple[str, ...]) -> dict[str, set[tuple[int, int, str]]]:
    """By cell, of each edge the most valuable operation but none; of each node the best two."""
    found = {}
    for group, table in worth.items():
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
        found[group] = chosen
    return found


@pytest.mark.parametrize("seed", range(3))
def test_each_edge_keeps_what_is_missed_most(seed: int) -> None:
    worth = worths("cnn", seed)
    for table in worth.values():
        table[:, 0] = 2.0  # none would be missed most of all, but takes no part
    trained = MadeUp("cnn", additive(worth))
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    wanted = best_of_cnn(worth, trained.context.candidates["normal"][0])
    for cell in ("normal", "reduce"):
        assert set(genotype.edges(cell)) == wanted[cell]
        kept = trained.context.masks[cell]
        assert kept.sum() == 8
        assert kept.sum(1).max() == 1


@pytest.mark.parametrize("seed", range(3))
def test_all_edges_of_nas201_and_none_among_the_operations(seed: int) -> None:
    worth = worths("nas201", seed)
    worth["cell"][1, 0] = 2.0
    trained = MadeUp("nas201", additive(worth))
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    names = trained.context.candidates["cell"][0]
    assert list(genotype.operations) == [names[int(k)] for k in worth["cell"].argmax(1)]
    assert genotype.operations[1] == "none"


def test_a_score_that_is_no_sum() -> None:
    """Two edges that have to carry the same operation; worth alone would choose otherwise."""

    def value(masks: Masks) -> float:
        first, second = masks["cell"][0].double(), masks["cell"][1].double()
        return float(10 * first @ second + first[1] - second[1])

    for seed in range(5):
        torch.manual_seed(seed)
        genotype = PerturbationSelection(tune=0).final_genotype(MadeUp("nas201", value))
        assert genotype.operations[0] == genotype.operations[1]


def test_edges_are_taken_out_one_by_one() -> None:
    """Of three edges into a node, two are worth something only together: the third one goes."""
    operation = 4

    def value(masks: Masks) -> float:
        edges = masks["normal"].any(1)
        # Node 3: its edges are 2, 3 and 4. Node 4: 5 to 8, of which 5 and 8 have to stay.
        return float(
            3 * (edges[2] and edges[4])
            + edges[3].int()
            + 2 * (edges[5] and edges[8])
            + 0.5 * edges[5:9].sum()
            + 0.01 * masks["normal"][:, operation].sum()
        )

    trained = MadeUp("cnn", value)
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    entering: dict[int, set[int]] = {node: set() for node in range(2, 6)}
    for source, node, name in genotype.edges("normal"):
        entering[node].add(source)
        assert name == trained.context.candidates["normal"][0][operation]
    assert entering[3] == {0, 2}
    assert entering[4] == {0, 3}


def test_only_candidates_that_are_kept_compete() -> None:
    """What was dropped does not come back; an edge with one candidate needs no score."""
    worth = worths("nas201", 0)
    trained = MadeUp("nas201", additive(worth))
    kept = torch.ones(6, 5, dtype=torch.bool)
    best = worth["cell"].argmax(1)
    kept[range(6), best] = False
    kept[3] = torch.tensor([False, False, True, False, False])
    trained.context.masks["cell"] = kept
    genotype = PerturbationSelection(tune=0).final_genotype(trained)
    second = worth["cell"].masked_fill(~kept, -1).argmax(1).tolist()
    names = trained.context.candidates["cell"][0]
    assert list(genotype.operations) == [names[k] for k in second]
    assert genotype.operations[3] == names[2]
    assert sum(isinstance(entry, int) for entry in trained.log) == 5 * 4


def test_tuned_and_saved_after_each_decision() -> None:
    trained = MadeUp("nas201", additive(worths("nas201", 1)))
    PerturbationSelection(tune=3, tune_lr=0.01, batches=2).final_genotype(trained)
    scores, decision = [2] * 5, [("train", 3, 0.01), "save"]
    # Nothing is left to tune for after the last one.
    assert trained.log == (scores + decision) * 5 + [*scores, "save"]


def test_edges_are_decided_in_random_order_and_nodes_after_them() -> None:
    orders = []
    for seed in range(3):
        trained = MadeUp("cnn", additive(worths("cnn", 0)), stop=1)
        torch.manual_seed(seed)
        with pytest.raises(Interrupted):
            PerturbationSelection(tune=0).final_genotype(trained)
        left = trained.state["decisions"]
        assert [about_edges for *_, about_edges in left] == [False] * 27 + [True] * 6
        edges = [(group, edge) for group, (edge, *_), _ in left[:27]]
        assert len(set(edges)) == 27
        assert edges != sorted(edges)
        orders.append(edges)
        nodes = sorted((group, tuple(entering)) for group, entering, _ in left[27:])
        of_a_cell = [(2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12, 13)]
        assert nodes == [(group, node) for group in ("normal", "reduce") for node in of_a_cell]
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("space", ["cnn", "nas201"])
@pytest.mark.parametrize("saves", [1, 4])
def test_interrupted_and_resumed_it_ends_the_same(space: str, saves: int) -> None:
    """With a score to which what was decided before makes a difference."""
    worth = worths(space, 2)

    def value(masks: Masks) -> float:
        return sum(
            float((worth[g] * m).sum() + torch.sin(3 * (worth[g] * m).sum(1)).sum())
            for g, m in masks.items()
        )

    torch.manual_seed(0)
    whole = MadeUp(space, value)
    wanted = PerturbationSelection(tune=0).final_genotype(whole)
    torch.manual_seed(0)
    broken = MadeUp(space, value, stop=saves)
    with pytest.raises(Interrupted):
        PerturbationSelection(tune=0).final_genotype(broken)
    resumed = MadeUp(space, value)
    resumed.state = copy.deepcopy(broken.state)
    resumed.context.masks = copy.deepcopy(broken.context.masks)
    torch.manual_seed(99)  # nothing is drawn anew
    assert PerturbationSelection(tune=0).final_genotype(resumed) == wanted
    assert whole.log.count("save") == saves + resumed.log.count("save")


@pytest.mark.parametrize("space", ["cnn", "nas201", "macro"])
@pytest.mark.parametrize("tune", [0, 3])
def test_what_it_says_that_it_does(space: str, tune: int) -> None:
    """Also where a search has dropped candidates, some edges but for one."""
    for dropped in (False, True):
        trained = MadeUp(space, additive(worths(space, 0)))
        if dropped:
            for group, mask in trained.masks().items():
                mask[:, 1::2] = False
                mask[0] = False
                mask[0, -1] = True
                trained.context.masks[group] = mask
        rule = PerturbationSelection(tune=tune, batches=2)
        said = told_by(rule, trained.context, 7)
        kept = dict(trained.context.masks)
        works = rule.estimate_work(trained.context) or []
        assert trained.context.masks == kept
        whole, single = (work.masks() for work in works)
        for group, mask in trained.masks().items():
            assert whole[group].equal(mask)
            assert (single[group].sum(1) == 1).all()
            assert not (single[group] & ~mask).any()
        assert said == done_by(rule, trained, 7)


def test_a_rule_that_takes_its_time_has_to_say_so_itself() -> None:
    class Slow(Discretization):
        def final_genotype(self, trained: SearchedSupernet) -> None:
            trained.score()

    context = MadeUp("nas201", lambda masks: 0.0).context
    assert Slow().estimate_work(context) is None
    assert Discretization().estimate_work(context) == Argmax().estimate_work(context) == []
