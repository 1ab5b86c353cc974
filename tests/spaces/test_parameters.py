"""Parameters, domains and operations on points, and lists of candidates."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_search import make_batch, make_searcher

from darts.spaces import cnn
from darts.spaces.macro import Macro
from darts.spaces.mlp import Mlp
from darts.spaces.nas201.supernet import Supernet as Nas201Supernet
from darts.spaces.parameters import Choice, Parameter, Parameters, Range, point_key
from darts.spaces.recurrent import Recurrent
from darts.spaces.transformer import Transformer

TREE = Parameters(
    [
        Parameter("kind", Choice(("sgd", "adam"))),
        Parameter("rate", Range(1e-4, 1.0, log=True)),
        Parameter("momentum", Range(0.0, 0.9, step=0.3), (("kind", ("sgd",)),)),
        Parameter("nesterov", Choice((True, False)), (("kind", ("sgd",)), ("momentum", (0.9,)))),
        Parameter("layers", Range(1, 3, integer=True)),
        *(
            Parameter(f"width{n}", Choice((8, 16)), (("layers", tuple(range(n, 4))),))
            for n in (1, 2, 3)
        ),
    ]
)


@st.composite
def ranges(draw: Any) -> Range:
    integer = draw(st.booleans())
    log = draw(st.booleans())
    number = st.integers(1, 50) if integer else st.floats(0.01, 50)
    low, high = sorted((draw(number), draw(number)))
    step = None
    if not log and draw(st.booleans()):
        step = draw(st.integers(1, 7)) if integer else draw(st.floats(0.05, 5))
    return Range(low, high, integer, step, log)


@given(ranges(), st.integers(0, 1000), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_a_range_contains_all_values_that_it_returns(domain: Range, seed: int, levels: int) -> None:
    random = Random(seed)
    value = domain.draw(random)
    perturbed = domain.perturb(value, random)
    for number in (value, perturbed, *domain.grid(levels), *domain.neighbors(value)):
        assert number in domain
        assert isinstance(number, int) == domain.integer
        assert domain.at(domain.fraction(number)) == pytest.approx(number)
    assert value not in domain.neighbors(value)
    assert len(domain.grid(levels)) <= max(levels, 1)
    # Between bounds that differ by rounding only, there may be no other number to draw.
    if domain.high > domain.low * (1 + 1e-9) and (domain.levels or 2) > 1:
        assert perturbed != value


@given(st.integers(0, 10_000))
@settings(max_examples=300, deadline=None)
def test_mutation_crossover_and_neighbors_respect_conditions(seed: int) -> None:
    random = Random(seed)
    a, b = TREE.draw(random), TREE.draw(random)
    mutant, child = TREE.mutate(a, random), TREE.crossover(a, b, random)
    assert point_key(mutant) != point_key(a)
    for near in TREE.neighbors(a, random):
        changed = {name for name in near if name in a and near[name] != a[name]}
        assert len(changed) == 1
    for point in (a, b, mutant, child, *TREE.neighbors(a, random)):
        assert TREE.contains(point)
        assert ("momentum" in point) == (point["kind"] == "sgd")
        assert ("nesterov" in point) == (point.get("momentum") == 0.9)
        for n in (1, 2, 3):
            assert (f"width{n}" in point) == (int(str(point["layers"])) >= n)


def test_a_child_takes_every_value_from_a_parent_and_both_parents_equally_often() -> None:
    random = Random(0)
    sources: Counter[str] = Counter()
    for _ in range(200):
        a, b = TREE.draw(random), TREE.draw(random)
        child = TREE.crossover(a, b, random)
        for name, value in child.items():
            # Parameters that only the child has may have new values.
            assert value in (a.get(name, value), b.get(name, value))
        if a["rate"] != b["rate"]:
            sources["a" if child["rate"] == a["rate"] else "b"] += 1
    assert min(sources.values()) > 60


def test_the_grid_contains_each_point_once() -> None:
    points = list(TREE.points(3))
    # sgd: momentum 0, 0.45 rounded to a step, and 0.9 with two values of nesterov; adam: none.
    optimizers = (2 + 2) + 1
    rates, widths = 3, 2 + 4 + 8
    assert len(points) == len({point_key(point) for point in points}) == optimizers * rates * widths
    assert TREE.size(3) == len(points)
    assert all(TREE.contains(point) for point in points)


def test_draws_are_uniform_on_the_scale_of_the_range() -> None:
    random = Random(3)
    domain = Range(1, 1000, log=True)
    below = sum(float(str(domain.draw(random))) < math.sqrt(1000) for _ in range(2000))
    assert abs(below - 1000) < 5 * math.sqrt(500)
    steps = Counter(Range(0, 10, True, 5).draw(random) for _ in range(3000))
    assert set(steps) == {0, 5, 10}
    assert all(abs(count - 1000) < 5 * math.sqrt(3000 * 2 / 9) for count in steps.values())


def test_domains_distinguish_types_and_steps() -> None:
    assert True not in Range(0, 1)
    assert True not in Choice((1, 2))
    assert 1 not in Choice((True, False))
    assert "1" not in Range(0, 1)
    assert 1.5 not in Range(1, 2, integer=True)
    assert 0.25 not in Range(0, 1, step=0.2)
    assert 0.6000000000000001 in Range(0, 1, step=0.2)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Range(0, math.inf), "must be finite"),
        (lambda: Range(0, 1, log=True), "low=0 must be > 0 if log=true"),
        (lambda: Range(1, 2, step=0.1, log=True), "mutually exclusive"),
        (lambda: Range(1, 2, step=-0.1), r"step=-0\.1 must be > 0"),
        (lambda: Range(0.5, 2, integer=True), "must be integers"),
        (lambda: Range(0, 2, integer=True, step=0.5), "step=0.5 must be an integer"),
        (
            lambda: Parameters(
                [Parameter("a", Choice((1,))), Parameter("b", Choice((1,)), (("a", (2,)),))]
            ),
            "b depends on a=2, which is not a value of a",
        ),
    ],
)
def test_invalid_domains_and_conditions_are_rejected(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("method", ["darts_v1", "gdas", "random_sharing"])
def test_a_search_neither_runs_nor_chooses_other_operations(method: str) -> None:
    searcher = make_searcher(
        "space=macro", f"method={method}", "space.candidates=[mb_k3_e3,mb_k7_e6,skip_connect]"
    )
    allowed = {"mb_k3_e3", "mb_k7_e6", "skip_connect"}
    before = {name: p.detach().clone() for name, p in searcher.net.named_parameters()}
    searcher.begin_epoch(0)
    update_alphas = searcher.bilevel.updates_alphas
    searcher.search_step(make_batch(0), make_batch(1), update_alphas=update_alphas)
    for group, table in searcher.probabilities().items():
        for names, row in zip(searcher.context.candidates[group], table.tolist(), strict=True):
            chosen = {name for name, p in zip(names, row, strict=True) if p > 0}
            assert chosen == allowed & set(names)
    genotype = searcher.config.discretize.genotype(searcher.probabilities(), searcher.context)
    assert set(genotype.blocks) <= allowed
    changed = {
        name
        for name, parameter in searcher.net.named_parameters()
        if not parameter.equal(before[name]) and ".operations." in name
    }
    for name in changed:  # e.g. blocks.0.operations.3.…: column 3 of the first block
        block, column = int(name.split(".")[1]), int(name.split(".operations.")[1].split(".")[0])
        assert searcher.net.blocks[block].plan.candidates[column] in allowed
    assert changed


REPEATED = "must contain at least one value and no value twice"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Macro(candidates=["mb_k9_e3"]), "'mb_k9_e3' is unknown; choose from mb_k3_e3"),
        (lambda: Macro(candidates=["skip_connect"]), "nothing for the first block of a stage"),
        (lambda: Macro(candidates=["mb_k3_e3"] * 2), "'mb_k3_e3' occurs more than once"),
        (lambda: Recurrent(candidates=["none"]), "'none' alone is not a network"),
        (lambda: Transformer(candidates=["conv_3"]), "nothing for the feed-forward layers"),
        (lambda: Mlp(widths=[8, 8]), f"space.widths=.*: {REPEATED}"),
        (lambda: Mlp(activations=["relu", "relu"]), f"space.activations=.*: {REPEATED}"),
        (lambda: cnn.Supernet(partial=3), "partial=3 does not divide the 16 channels"),
        (lambda: Nas201Supernet(channels=6, partial=4), "partial=4 does not divide channels=6"),
    ],
)
def test_lists_that_leave_no_choice_and_wrong_shares_are_rejected(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
