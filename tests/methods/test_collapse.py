"""The rules that call a search collapsed, on histories made up."""

from __future__ import annotations

import math
from typing import Any

import pytest

from darts.methods.collapse import CollapseChecks, Checkup, count_edges, genotype_drift, score_gap
from darts.spaces import SPACES
from darts.spaces.cnn import PUBLISHED
from darts.spaces.cnn.operations import FACTORIES
from darts.spaces.lookup import published_genotypes
from darts.spaces.genotype import OPERATIONS
from darts.spaces.nas201 import Genotype
from darts.spaces.nas201.skeleton import FACTORIES as CELL_FACTORIES


def look(epoch: int, skips: int = 0, weightless: int | None = None, **values: Any) -> Checkup:
    """One with as many skips in the normal cell."""
    usual: dict[str, Any] = {
        "stage": 0,
        "edges": {"normal": 8, "reduce": 8},
        "skips": {"normal": skips, "reduce": 0},
        "weightless": {"normal": skips, "reduce": 0 if weightless is None else weightless - skips},
        "eigenvalue": 0.1,
        "supernet": 0.9,
        "path": 0.5,
        "higher_is_better": True,
        "gap": 0.4,
        "drift": 0.0,
    }
    return Checkup(epoch=epoch, **(usual | values))


def looks_of(*values: float | None, **more: Any) -> list[Checkup]:
    """Looks at every fifth epoch with these eigenvalues."""
    return [look(5 * n, eigenvalue=value, **more) for n, value in enumerate(values, 1)]


def test_when_it_looks() -> None:
    assert [epoch for epoch in range(12) if CollapseChecks().is_due(epoch)] == [4, 9]
    assert all(CollapseChecks(every=1).is_due(epoch) for epoch in range(3))
    assert not any(CollapseChecks(every=0).is_due(epoch) for epoch in range(12))


def test_skip_connections_in_words() -> None:
    rules = CollapseChecks()
    history = [look(5, 3), look(10, 2), look(15, 2), look(20, 4)]
    assert rules.findings(history) == []
    (text,) = rules.findings([*history, look(25, 6)])
    assert text == (
        "6 of 8 edges of the normal cell are skip connections or none (2 at epoch 15): "
        "the search is collapsing"
    )
    # Nothing to compare with, where it was never better.
    (text,) = rules.findings([look(5, 6)])
    assert "(" not in text
    assert CollapseChecks(skips=0.75).findings([look(5, 6)]) == []
    assert CollapseChecks(skips=0.0).findings([look(5, 1)]) != []


def test_each_cell_is_judged_on_its_own() -> None:
    both = look(5, skips=5, weightless=11)
    bad = {"normal": 5, "reduce": 6}
    found = CollapseChecks().findings([Checkup(**(vars(both) | {"skips": bad}))])
    assert [("normal" in text, "reduce" in text) for text in found] == [
        (True, False),
        (False, True),
    ]


def test_operations_without_weights() -> None:
    rules = CollapseChecks()
    assert rules.findings([look(5, 2, weightless=11)]) == []
    (text,) = rules.findings([look(5, 2, weightless=7), look(10, 2, weightless=12)])
    assert text.startswith("12 of 16 edges of the genotype have no weights (7 at epoch 5)")


def test_growing_curvature() -> None:
    """Means of two looks, one look apart: (0.1 + 0.1) / (0.1 + 0.2) is 0.67."""
    rules = CollapseChecks(window=2)
    assert CollapseChecks().growth(looks_of(0.1, 0.1, 0.2)) is None
    assert CollapseChecks().growth(looks_of(0.1, 0.1, 0.1, 0.3)) == pytest.approx(3 / 5)
    assert rules.eigenvalue_ratio(looks_of(0.1, 0.1)) is None
    assert rules.eigenvalue_ratio(looks_of(0.1, 0.1, 0.2)) == pytest.approx(2 / 3)
    (text,) = rules.findings(looks_of(0.1, 0.1, 0.2))
    assert "grown 1.5 times since epoch 10" in text
    assert rules.findings(looks_of(0.1, 0.1, 0.16)) == []
    assert rules.findings(looks_of(0.3, 0.2, 0.1)) == []
    assert rules.findings(looks_of(-0.3, -0.2, -0.1)) == []
    # As published: each epoch, five in a mean, five ago.
    published = CollapseChecks(every=1, window=5, patience=5)
    values = [1.0] * 9 + [3.0]
    assert published.findings(looks_of(*values)) != []
    assert published.findings(looks_of(*values[1:])) == []


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_without_an_eigenvalue_there_is_no_complaint_of_it(unknown: float | None) -> None:
    rules = CollapseChecks(window=2)
    assert rules.findings(looks_of(0.1, 0.1, 0.9)) != []
    for values in ([0.1, unknown, 0.9], [0.1, 0.1, unknown], [unknown] * 3, [unknown, 0.1, 0.9]):
        assert rules.findings(looks_of(*values)) == []


def test_a_path_that_falls_behind() -> None:
    history = [look(5, path=0.2), look(10, path=0.6), look(15, path=0.5)]
    assert CollapseChecks().findings(history) == []
    (text,) = CollapseChecks().findings([*history, look(20, path=0.3, supernet=0.95)])
    assert "score 0.3 (0.6 at epoch 10), the supernet 0.95" in text
    assert CollapseChecks(fall=0.6).findings([*history, look(20, path=0.3)]) == []
    assert CollapseChecks().findings([*history, look(20, path=0.9)]) == []


def test_a_path_by_a_metric_of_which_less_is_better() -> None:
    """By inverses: of a supernet's 80, paths of 100, 130 and 200 keep 0.8, 0.62 and 0.4."""
    values: dict[str, Any] = {"supernet": 80.0, "higher_is_better": False}
    history = [look(5, path=400.0, **values), look(10, path=100.0, **values)]
    assert CollapseChecks().findings([*history, look(15, path=130.0, **values)]) == []
    (text,) = CollapseChecks().findings([*history, look(15, path=200.0, **values)])
    assert "(100 at epoch 10)" in text


def test_a_path_that_was_never_better_than_chance_does_not_fall() -> None:
    history = [look(5, path=0.17, supernet=0.2), look(10, path=0.1, supernet=0.98)]
    assert CollapseChecks().findings(history) == []


def test_stages_are_not_compared_by_curvature_and_scores() -> None:
    before = looks_of(0.1, 0.1, path=0.9)
    after = [look(15, eigenvalue=0.9, path=0.1, stage=1)]
    rules = CollapseChecks(window=2)
    assert rules.findings([*before, *after]) == []
    assert len(rules.findings([*before, look(15, eigenvalue=0.9, path=0.1)])) == 2


def test_it_says_nothing_in_the_beginning() -> None:
    rules = CollapseChecks(warmup=0.2)
    assert rules.warnings([look(5, 8)], epochs=25) == []
    assert rules.warnings([look(5, 8)], epochs=24) != []
    assert CollapseChecks(warmup=0.0).warnings([look(5, 8)], epochs=25) != []


def test_the_last_healthy_epoch() -> None:
    rules = CollapseChecks()
    history = [look(5, 6), look(10, 2), look(15, 3), look(20, 5), look(25, 7)]
    assert [rules.last_healthy_epoch(history[:n], 25) for n in range(1, 6)] == [
        None,
        10,
        15,
        15,
        15,
    ]
    # Growth of the curvature began before it was seen.
    assert CollapseChecks(window=2).last_healthy_epoch(looks_of(0.1, 0.1, 0.1, 0.2), 25) == 15
    longer = CollapseChecks(window=2, patience=2)
    assert longer.findings(looks_of(*[0.1] * 4)) == []
    assert longer.findings(looks_of(*[0.1] * 4, 0.5)) != []
    assert longer.healthy(looks_of(*[0.1] * 4, 0.5), 25) == 15


def test_the_warm_up_is_nothing_to_go_back_to() -> None:
    """But for its last look: an early genotype is an accident, healthy or not."""
    rules = CollapseChecks(every=1)  # of 50 epochs, the first ten
    history = [look(1, 4), *(look(epoch, 6) for epoch in range(2, 12))]
    assert rules.warnings(history, 50) != []
    assert rules.last_healthy_epoch(history, 50) is None
    assert CollapseChecks(every=1, warmup=0.0).last_healthy_epoch(history, 50) == 1
    last = [*history[:9], look(10, 4), look(11, 6)]
    assert rules.last_healthy_epoch(last, 50) == 10
    assert rules.last_healthy_epoch([*last[:8], look(9, 4), *last[9:]], 50) == 10
    grown = [*looks_of(0.1, 0.1), look(15, eigenvalue=0.9)]
    assert CollapseChecks(window=2, warmup=0.4).last_healthy_epoch(grown, 25) == 10
    assert (
        CollapseChecks(window=2, warmup=0.6).last_healthy_epoch(grown, 25) is None
    )  # the growth began before it
    # Within the warm-up, the present look is the last.
    assert rules.last_healthy_epoch(history[:1], 50) == 1
    assert rules.last_healthy_epoch(history[:2], 50) is None


def test_shares_of_a_score_that_are_lost() -> None:
    assert score_gap(0.8, 0.6, higher_is_better=True) == pytest.approx(0.25)
    assert score_gap(0.5, 0.6, higher_is_better=True) == pytest.approx(-0.2)
    assert score_gap(100.0, 400.0, higher_is_better=False) == pytest.approx(0.75)
    assert score_gap(100.0, math.inf, higher_is_better=False) == 1.0
    assert score_gap(100.0, math.nan, higher_is_better=False) is None
    assert score_gap(0.0, 0.0, higher_is_better=True) is None
    assert score_gap(0.5, math.nan, higher_is_better=True) is None


def test_counts_and_drift() -> None:
    names = ("skip_connect", "none", "nor_conv_3x3", "skip_connect", "avg_pool_3x3", "nor_conv_1x1")
    one, space = Genotype.from_operations(*names), SPACES["nas201"]
    assert count_edges(one) == {"cell": 6}
    assert count_edges(one, space.skip_operations) == {"cell": 3}
    assert count_edges(one, space.weightless_operations) == {"cell": 4}
    other = Genotype.from_operations("none", *names[1:5], "none")
    assert genotype_drift(other, one) == pytest.approx(2 / 6)
    assert genotype_drift(one, one) == 0
    v1, v2 = (PUBLISHED[name].genotype for name in ("DARTS_V1", "DARTS_V2"))
    edges = [{(cell, *edge) for cell in g.cells for edge in g.edges(cell)} for g in (v1, v2)]
    assert genotype_drift(v2, v1) == len(edges[1] - edges[0]) / 16


def test_operations_without_weights_are_those_that_have_none() -> None:
    for name in OPERATIONS:
        weights = list(FACTORIES[name](4, 1, False).parameters())
        assert (not weights) == (name in SPACES["cnn"].weightless_operations), name
    for name, make in CELL_FACTORIES.items():
        weights = list(make(4, False).parameters())
        assert (not weights) == (name in SPACES["nas201"].weightless_operations), name
    for space in SPACES.values():
        assert set(space.skip_operations) <= set(space.weightless_operations)


def test_no_published_cell_is_called_collapsed() -> None:
    """Where the thresholds come from; both are reached by some."""
    shares = []
    for entry in published_genotypes().values():
        genotype = entry.genotype
        space = SPACES[genotype.space]
        edges, skips = count_edges(genotype), count_edges(genotype, space.skip_operations)
        weightless = count_edges(genotype, space.weightless_operations)
        of_skips = max(skips[cell] / edges[cell] for cell in edges)
        shares.append((of_skips, sum(weightless.values()) / sum(edges.values())))
        one = Checkup(
            **(vars(look(5)) | {"edges": edges, "skips": skips, "weightless": weightless})
        )
        assert CollapseChecks().findings([one]) == []
    assert max(skips for skips, _ in shares) == 0.5
    assert max(weightless for _, weightless in shares) == pytest.approx(11 / 16)
