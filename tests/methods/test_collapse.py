"""Collapse checks on artificial histories."""

from __future__ import annotations

import math
from typing import Any

import pytest

from darts.methods.collapse import CollapseChecks, Measurements, count_edges, genotype_drift
from darts.spaces import SPACES
from darts.spaces.cnn import PUBLISHED
from darts.spaces.cnn.operations import FACTORIES
from darts.spaces.genotype import OPERATIONS
from darts.spaces.lookup import published_genotypes
from darts.spaces.nas201 import Genotype
from darts.spaces.nas201.genotype import PRIMITIVES
from darts.spaces.nas201.network import make_operation


def check(epoch: int, skips: int = 0, weightless: int | None = None, **values: Any) -> Measurements:
    """Return the measurements of a check with a number of skips in the normal cell."""
    defaults: dict[str, Any] = {
        "stage": 0,
        "edges": {"normal": 8, "reduce": 8},
        "skips": {"normal": skips, "reduce": 0},
        "weightless": {"normal": skips, "reduce": 0 if weightless is None else weightless - skips},
        "eigenvalue": 0.1,
        "supernet_score": 0.9,
        "path_score": 0.5,
        "higher_is_better": True,
        "drift": 0.0,
        "flaws": [],
    }
    return Measurements(epoch=epoch, **(defaults | values))


def checks_of(*values: float | None, **more: Any) -> list[Measurements]:
    """Return the measurements of checks at every fifth epoch with these eigenvalues."""
    return [check(5 * n, eigenvalue=value, **more) for n, value in enumerate(values, 1)]


def test_too_many_skips_are_a_finding() -> None:
    rules = CollapseChecks()
    history = [check(5, 3), check(10, 2), check(15, 2), check(20, 4)]
    assert rules.findings(history) == []
    (text,) = rules.findings([*history, check(25, 6)])
    assert text == (
        "6 of 8 edges of the normal cell are skip connections or none (2 at epoch 15): "
        "the search is collapsing"
    )
    # Without a better earlier check there is nothing to compare with.
    (text,) = rules.findings([check(5, 6)])
    assert "(" not in text
    assert CollapseChecks(skips=0.75).findings([check(5, 6)]) == []
    assert CollapseChecks(skips=0.0).findings([check(5, 1)]) != []


def test_skips_are_counted_per_cell() -> None:
    both = check(5, skips=5, weightless=11)
    bad = {"normal": 5, "reduce": 6}
    actual = CollapseChecks().findings([Measurements(**(vars(both) | {"skips": bad}))])
    named = [("normal" in text, "reduce" in text) for text in actual]
    assert named == [(True, False), (False, True)]


def test_too_many_weightless_edges_are_a_finding() -> None:
    rules = CollapseChecks()
    assert rules.findings([check(5, 2, weightless=11)]) == []
    (text,) = rules.findings([check(5, 2, weightless=7), check(10, 2, weightless=12)])
    assert text.startswith("12 of 16 edges of the genotype have no weights (7 at epoch 5)")


def test_growing_eigenvalue_is_a_finding() -> None:
    """Means of two checks, one check apart: (0.1 + 0.1) / (0.1 + 0.2) is 0.67."""
    rules = CollapseChecks(ratio=0.75, window=2)
    assert CollapseChecks().eigenvalue_ratio(checks_of(0.1, 0.1, 0.2)) is None
    assert CollapseChecks().eigenvalue_ratio(checks_of(0.1, 0.1, 0.1, 0.3)) == pytest.approx(3 / 5)
    assert rules.eigenvalue_ratio(checks_of(0.1, 0.1)) is None
    assert rules.eigenvalue_ratio(checks_of(0.1, 0.1, 0.2)) == pytest.approx(2 / 3)
    (text,) = rules.findings(checks_of(0.1, 0.1, 0.2))
    assert "grown by a factor of 1.5 since epoch 10" in text
    assert rules.findings(checks_of(0.1, 0.1, 0.16)) == []
    assert CollapseChecks(window=2).findings(checks_of(-0.3, 0.1, 0.2)) == []  # without a ratio
    assert rules.findings(checks_of(0.3, 0.2, 0.1)) == []
    assert rules.findings(checks_of(-0.3, -0.2, -0.1)) == []
    # The published rule: every epoch, a window and a patience of five.
    published = CollapseChecks(every=1, ratio=0.75, window=5, patience=5)
    values = [1.0] * 9 + [3.0]
    assert published.findings(checks_of(*values)) != []
    assert published.findings(checks_of(*values[1:])) == []


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_unknown_eigenvalue_is_no_finding(unknown: float | None) -> None:
    rules = CollapseChecks(ratio=0.75, window=2)
    assert rules.findings(checks_of(0.1, 0.1, 0.9)) != []
    for values in ([0.1, unknown, 0.9], [0.1, 0.1, unknown], [unknown] * 3, [unknown, 0.1, 0.9]):
        assert rules.findings(checks_of(*values)) == []


def test_falling_path_score_is_a_finding() -> None:
    history = [check(5, path_score=0.2), check(10, path_score=0.6), check(15, path_score=0.5)]
    assert CollapseChecks().findings(history) == []
    (text,) = CollapseChecks().findings([*history, check(20, path_score=0.3, supernet_score=0.95)])
    assert "score 0.3 (0.6 at epoch 10), the supernet 0.95" in text
    assert CollapseChecks(fall=0.6).findings([*history, check(20, path_score=0.3)]) == []
    assert CollapseChecks().findings([*history, check(20, path_score=0.9)]) == []


def test_path_scores_of_a_loss_metric_are_compared_by_their_inverse() -> None:
    """A supernet at 80 and paths at 100, 130 and 200 give ratios of 0.8, 0.62 and 0.4."""
    values: dict[str, Any] = {"supernet_score": 80.0, "higher_is_better": False}
    history = [check(5, path_score=400.0, **values), check(10, path_score=100.0, **values)]
    assert CollapseChecks().findings([*history, check(15, path_score=130.0, **values)]) == []
    (text,) = CollapseChecks().findings([*history, check(15, path_score=200.0, **values)])
    assert "(100 at epoch 10)" in text


def test_curvature_and_scores_are_compared_within_a_stage_only() -> None:
    before = checks_of(0.1, 0.1, path_score=0.9)
    after = [check(15, eigenvalue=0.9, path_score=0.1, stage=1)]
    rules = CollapseChecks(ratio=0.75, window=2)
    assert rules.findings([*before, *after]) == []
    assert len(rules.findings([*before, check(15, eigenvalue=0.9, path_score=0.1)])) == 2


def test_last_healthy_epoch_precedes_the_first_finding() -> None:
    rules = CollapseChecks()
    history = [check(5, 6), check(10, 2), check(15, 3), check(20, 5), check(25, 7)]
    healthy = [rules.last_healthy_epoch(history[:n], 25) for n in range(1, 6)]
    assert healthy == [None, 10, 15, 15, 15]
    # The growth of the curvature begins before the finding.
    rules = CollapseChecks(ratio=0.75, window=2)
    assert rules.last_healthy_epoch(checks_of(0.1, 0.1, 0.1, 0.2), 25) == 15
    longer = CollapseChecks(ratio=0.75, window=2, patience=2)
    assert longer.findings(checks_of(*[0.1] * 4)) == []
    assert longer.findings(checks_of(*[0.1] * 4, 0.5)) != []
    assert longer.last_healthy_epoch(checks_of(*[0.1] * 4, 0.5), 25) == 15


def test_only_the_last_check_of_the_warm_up_counts_as_healthy() -> None:
    rules = CollapseChecks(every=1)  # the warm-up of 50 epochs has ten
    history = [check(1, 4), *(check(epoch, 6) for epoch in range(2, 12))]
    assert rules.warnings(history, 50) != []
    assert rules.last_healthy_epoch(history, 50) is None
    assert CollapseChecks(every=1, warmup=0.0).last_healthy_epoch(history, 50) == 1
    last = [*history[:9], check(10, 4), check(11, 6)]
    assert rules.last_healthy_epoch(last, 50) == 10
    assert rules.last_healthy_epoch([*last[:8], check(9, 4), *last[9:]], 50) == 10
    grown = [*checks_of(0.1, 0.1), check(15, eigenvalue=0.9)]
    assert CollapseChecks(ratio=0.75, window=2, warmup=0.4).last_healthy_epoch(grown, 25) == 10
    # The growth began before it.
    assert CollapseChecks(ratio=0.75, window=2, warmup=0.6).last_healthy_epoch(grown, 25) is None
    # During the warm-up, the latest check counts.
    assert rules.last_healthy_epoch(history[:1], 50) == 1
    assert rules.last_healthy_epoch(history[:2], 50) is None


@pytest.mark.parametrize(
    ("supernet", "path", "higher", "gap"),
    [
        *((0.8, 0.6, True, 0.25), (0.5, 0.6, True, -0.2), (100.0, 400.0, False, 0.75)),
        *((100.0, math.inf, False, 1.0), (100.0, math.nan, False, None)),
        *((0.0, 0.0, True, None), (0.5, math.nan, True, None)),
    ],
)
def test_the_gap_in_both_directions_of_the_metric(
    supernet: float, path: float, higher: bool, gap: float | None
) -> None:
    own = check(5, supernet_score=supernet, path_score=path, higher_is_better=higher)
    assert own.gap == (None if gap is None else pytest.approx(gap))


def test_edge_counts_and_genotype_drift() -> None:
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


def test_weightless_operations_of_a_space_have_no_parameters() -> None:
    for name in OPERATIONS:
        weights = list(FACTORIES[name](4, 1, False).parameters())
        assert (not weights) == (name in SPACES["cnn"].weightless_operations), name
    for name in PRIMITIVES:
        weights = list(make_operation(name, 4, affine=False).parameters())
        assert (not weights) == (name in SPACES["nas201"].weightless_operations), name
    for space in SPACES.values():
        assert set(space.skip_operations) <= set(space.weightless_operations)


def test_published_genotypes_have_no_findings() -> None:
    """The thresholds come from published genotypes; some of them reach each threshold."""
    shares = []
    for entry in published_genotypes().values():
        genotype = entry.genotype
        space = SPACES[genotype.space]
        edges, skips = count_edges(genotype), count_edges(genotype, space.skip_operations)
        weightless = count_edges(genotype, space.weightless_operations)
        of_skips = max(skips[cell] / edges[cell] for cell in edges)
        shares.append((of_skips, sum(weightless.values()) / sum(edges.values())))
        counts = {"edges": edges, "skips": skips, "weightless": weightless}
        one = Measurements(**(vars(check(5)) | counts))
        assert CollapseChecks().findings([one]) == []
    assert max(skips for skips, _ in shares) == 0.5
    assert max(weightless for _, weightless in shares) == pytest.approx(11 / 16)
