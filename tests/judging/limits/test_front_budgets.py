"""The genotype of a budget is the most probable one below it, and above the next smaller one."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from darts.config import ConfigError, compose
from darts.data_modules import make_data_module
from darts.judging.devices.cell_features import is_connected
from darts.judging.limits.front_budgets import Budgets, check_front
from darts.spaces import AnyGenotype, SearchContext
from darts.spaces.nas201.genotype import PRIMITIVES, Genotype
from darts.training.cost import count_macs
from darts.training.distributed import Ranks

TINY = ("dataset=synthetic", "dataset.samples=64", "space=nas201", "space.channels=2")
TINY += ("space.cells=1", "front.cost=macs")


def make_budgets(*words: str) -> tuple[Budgets, SearchContext]:
    config = compose("search", [*TINY, *words])
    check_front(config)
    data = make_data_module(config, Ranks("cpu"))
    sizes: dict[str, Any] = {**data.network_sizes(config.space)}
    context = SearchContext.from_supernet(config.space, config.space.supernet(**sizes))
    return Budgets(config, context, data), context


def derived(
    budgets: Budgets, context: SearchContext, p: Any, share: float, above: float | None = None
) -> AnyGenotype:
    limit = budgets.limit_at(share, above)
    return context.space.derive(limit.restrict(p), context.candidates)


def has_effect(operations: tuple[str, ...]) -> bool:
    genotype = Genotype.from_operations(*operations)
    return genotype == genotype.simplified() and is_connected(genotype)


def test_budgets_span_the_costs_of_random_networks() -> None:
    budgets, context = make_budgets("front.points=5")
    assert budgets.shares() == [0, 0.25, 0.5, 0.75, 1]
    assert budgets.at(0.5) == pytest.approx((budgets.least + budgets.most) / 2)
    genotype = context.space.random(torch.Generator().manual_seed(1))
    network = context.space.network(genotype, classes=10, in_channels=3).eval()
    cost = count_macs(network, torch.zeros(1, 3, 8, 8))
    assert budgets.cost(genotype) == cost
    assert budgets.least <= cost <= budgets.most
    own, _ = make_budgets("front.least=1e4", "front.most=2e4")
    assert (own.least, own.most) == (1e4, 2e4)


@pytest.mark.parametrize(
    ("above", "share"), [(None, 0.1), (None, 0.4), (None, 1.0), (0.2, 0.5), (0.5, 0.9)]
)
def test_the_best_genotype_of_each_budget(above: float | None, share: float) -> None:
    budgets, context = make_budgets()
    draw = torch.Generator().manual_seed(4 if above is None else 5)
    logits = 2 * torch.randn(6, 5, generator=draw).double()
    if above is not None:  # the most probable genotypes are too cheap
        logits = logits / 2
        logits[:, PRIMITIVES.index("skip_connect")] += 3
    p = logits.softmax(-1)
    least = -math.inf if above is None else budgets.at(above)
    logs = p.log().tolist()

    def fits(genotype: AnyGenotype) -> bool:
        return least < budgets.cost(genotype) <= budgets.at(share)

    def score(operations: tuple[str, ...]) -> float:
        return sum(logs[n][PRIMITIVES.index(name)] for n, name in enumerate(operations))

    if above is not None:
        assert budgets.cost(derived(budgets, context, {"cell": p}, 1.0)) < budgets.at(0.25)
    found = derived(budgets, context, {"cell": p}, share, above)
    assert fits(found)
    fitting = [
        score(own)
        for own in itertools.islice(itertools.product(PRIMITIVES, repeat=6), 0, None, 7)
        if has_effect(own) and fits(Genotype.from_operations(*own))
    ]
    assert len(fitting) > 20 or above is None
    assert score(found.operations) >= max(fitting, default=-math.inf) - 1e-9


def test_a_genotype_that_costs_exactly_the_smaller_budget_does_not_exceed_it() -> None:
    budgets, context = make_budgets()
    p = torch.full((6, 5), 0.01).double()
    p[:, PRIMITIVES.index("skip_connect")] = 0.96  # as cheap as the smallest budget
    assert budgets.cost(derived(budgets, context, {"cell": p}, 0.0)) == budgets.least
    assert budgets.cost(derived(budgets, context, {"cell": p}, 0.5, 0.0)) > budgets.least


def test_every_cell_of_a_front_has_a_path_from_input_to_output() -> None:
    budgets, context = make_budgets()
    p = torch.full((6, 5), 0.02).double()
    p[:, PRIMITIVES.index("none")] = 0.92
    for share in (0.0, 0.5):
        assert is_connected(derived(budgets, context, {"cell": p}, share))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("front.cost=none", "front.points=3"), "front.points=3: has no effect unless front.cost"),
        (("discretize=perturbation",), "front.cost=macs: discretize=perturbation cannot keep"),
        (("discretize=sampling",), "front.cost=macs: discretize=sampling cannot keep"),
        (("discretize.edges=all",), "discretize.edges=all cannot keep"),
        (("method=drnas",), "the stages of method=drnas drop candidates that other budgets need"),
        (("limit.sizes.foo=1",), "space=nas201 has no size foo"),
        (("method=random_sharing",), "front.cost=macs: method=random_sharing does not learn"),
        (("stopping=curvature",), "stopping=curvature may return the genotype of an earlier"),
        (("collapse.action=stop",), "collapse.action=stop may return the genotype of an earlier"),
        (("front.cost=latency_ms",), "front.cost=latency_ms: a search needs a latency model; set"),
        (("front.device=phone",), "front.device=phone: has no effect unless front.cost"),
        (("front.least=2", "front.most=1"), "front.least=2: must be below front.most=1"),
        (("front.most=1",), "front.cost=macs: the smallest budget is "),
    ],
)
def test_wrong_fronts_end_in_one_line(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_budgets(*words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
