"""Alphas, scalars that summarize them, their budgets, and their expected costs."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tiny_search import context_and_supernet, make_batch, make_searcher
from torch import Tensor

from darts.searching.alphas import alpha_scalars, genotype_counts
from darts.searching.budget_alphas import LARGEST, BudgetPenalty, add_anchors, alphas_at
from darts.searching.expected_cost import MEASURES, ExpectedCost, Penalty
from darts.spaces import Genotype, SearchContext

OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
EDGES = ((0, 2), (1, 2))


def test_scalars_have_a_tag_for_each_edge_and_operation() -> None:
    p = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]], requires_grad=True)
    edges = {"normal": EDGES, "reduce": EDGES}
    candidates = dict.fromkeys(edges, (OPERATIONS,) * len(EDGES))
    context = SearchContext(None, candidates, edges, dict.fromkeys(edges, 1))
    probabilities = {"normal": p, "reduce": p.flip(0)}
    scalars = alpha_scalars(probabilities, context, edges=True)
    assert scalars["alpha/normal/0→2/none"] == pytest.approx(0.7)
    assert scalars["alpha/reduce/1→2/skip_connect"] == pytest.approx(0.1)
    assert scalars["entropy/normal/1→2"] == pytest.approx(math.log(4))
    mean = (scalars["entropy/normal/0→2"] + scalars["entropy/normal/1→2"]) / 2
    assert scalars["entropy/normal/mean"] == pytest.approx(mean)
    assert scalars["margin/normal/mean"] == pytest.approx(0.0)
    assert len(scalars) == 2 * (2 * 4 + 2 + 2 + 2)
    assert all(type(value) is float for value in scalars.values())
    means = {tag: value for tag, value in scalars.items() if tag.endswith("/mean")}
    assert alpha_scalars(probabilities, context) == means


def test_genotype_counts_include_zeros() -> None:
    genotype = Genotype(
        (("skip_connect", 0), ("skip_connect", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        (2, 3),
        (("none", 0), ("max_pool_3x3", 1)),
        (2,),
    )
    assert genotype_counts(genotype) == {
        "genotype/normal/skip_connect": 2,
        "genotype/normal/none": 0,
        "genotype/reduce/skip_connect": 0,
        "genotype/reduce/none": 1,
    }


@pytest.mark.parametrize("deviation", [0.0, 1e-3, 0.01])
@pytest.mark.parametrize("method", ["darts_v1", "pc_darts"])
def test_initial_alphas_are_scaled(method: str, deviation: float) -> None:
    overrides = (f"method={method}", "space.cells=1", "space.channels=4")
    default = make_searcher(*overrides).net
    scaled = make_searcher(*overrides, f"arch_optimizer.initial_deviation={deviation}").net
    assert len(scaled.alphas) == (4 if method == "pc_darts" else 2)  # also those of the edges
    for group, alpha in default.alphas.items():
        torch.testing.assert_close(scaled.alphas[group], alpha * (deviation / 1e-3))
    weights = zip(default.weight_parameters(), scaled.weight_parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in weights)


FRONT = ("space=nas201", "space.cells=1", "arch_optimizer.lr=0.05", "front.cost=macs")


def test_alphas_between_anchors_are_interpolated() -> None:
    _, net = context_and_supernet("nas201")
    add_anchors(net, 4)
    with torch.no_grad():
        net.alphas["cell_offsets"].normal_()
    base, offsets = net.alphas["cell"].detach(), net.alphas["cell_offsets"].detach()
    anchors = np.linspace(0, 1, 4)
    values = [*(base + own for own in offsets), base]
    for budget in (0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0):
        found = alphas_at(net, budget)
        assert list(found) == ["cell"]
        for place in np.ndindex(*base.shape):
            expected = np.interp(budget, anchors, [float(value[place]) for value in values])
            assert float(found["cell"].detach()[place]) == pytest.approx(expected, abs=1e-6)


def test_the_largest_budget_has_the_alphas_of_a_search_without_budgets() -> None:
    _, net = context_and_supernet("nas201")
    before = alphas_at(net, 0.3)["cell"]
    assert before is net.alphas["cell"]
    add_anchors(net, 3)
    assert torch.equal(alphas_at(net, LARGEST)["cell"], before)


def penalty(searcher: Any, weight: float) -> BudgetPenalty:
    cost = measure_cost(searcher.config.space, searcher.context, "parameters", (3, 8, 8))
    mean = float(cost(searcher.probabilities()))
    return BudgetPenalty(cost, 0.5 * mean, 1.5 * mean, weight, searcher.context)


def test_the_penalty_is_the_relative_difference_from_the_budget() -> None:
    searcher = make_searcher(*FRONT)
    own, p = penalty(searcher, 3.0), searcher.probabilities()
    cost = float(own.cost(p))
    for budget in (0.0, 0.2, 0.9):
        with searcher.context.changed(budget=budget):
            expected = 3.0 * abs(cost / (cost * (0.5 + budget)) - 1)
            assert float(own(p)) == pytest.approx(expected, rel=1e-5)


def test_one_search_ends_with_cheap_alphas_for_small_budgets_only() -> None:
    searcher = make_searcher(*FRONT)
    own = penalty(searcher, 5.0)
    searcher.alpha_costs.append(own)
    searcher.begin_epoch(0)
    torch.manual_seed(1)
    for step in range(30):
        searcher.arch_step(make_batch(step), make_batch(100 + step))
        searcher.weight_step(make_batch(step))
    costs = []
    for budget in (0.0, 0.5, 1.0):
        with searcher.context.changed(budget=budget):
            costs.append(float(own.cost(searcher.probabilities())))
    assert costs[0] < 0.8 * min(costs[1:])


def test_every_step_draws_a_budget_and_ends_at_the_largest() -> None:
    searcher, seen = make_searcher(*FRONT), []
    searcher.alpha_costs.append(lambda p: seen.append(searcher.context.budget) or p["cell"].sum())
    searcher.begin_epoch(0)
    torch.manual_seed(3)
    for step in range(3):
        searcher.arch_step(make_batch(step), make_batch(step))
        assert searcher.context.budget == LARGEST
    torch.manual_seed(3)
    assert seen[0] == float(torch.rand(()))
    assert len(set(seen)) == 3


def test_a_search_without_a_front_draws_nothing() -> None:
    searcher = make_searcher(*FRONT[:-1])
    assert list(searcher.net.alphas) == ["cell"]
    before = torch.random.get_rng_state()
    searcher.begin_epoch(0)
    searcher.arch_step(make_batch(0), make_batch(1))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("words", [("method=pc_darts",), ("method=darts_v2",)])
def test_edge_weights_and_second_order_steps_depend_on_the_budget(words: tuple[str, ...]) -> None:
    more = ("space=cnn", "space.cells=3") if "pc" in words[0] else ()
    searcher = make_searcher(*FRONT, *more, *words)
    searcher.begin_epoch(20)
    before = {name: alpha.detach().clone() for name, alpha in searcher.net.alphas.items()}
    offsets = [name for name in before if name.endswith("_offsets")]
    assert len(offsets) == len(before) / 2
    for step in range(2):
        searcher.arch_step(make_batch(step), make_batch(10 + step))
    for name in offsets:
        assert not torch.equal(before[name], searcher.net.alphas[name])


def measure_cost(
    space: Any, context: SearchContext, name: str, sample_shape: tuple[int, ...]
) -> ExpectedCost:
    return ExpectedCost.measured(
        space, context.candidates, classes=3, sample_shape=sample_shape, measure=MEASURES[name]
    )


def cost_and_context(space: str = "cnn", name: str = "flops") -> tuple[ExpectedCost, SearchContext]:
    context, _ = context_and_supernet(space, cells=3 if space == "cnn" else 1)
    return measure_cost(context.space, context, name, (3, 8, 8)), context


def random_probabilities(context: SearchContext, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        group: torch.randn(len(rows), len(rows[0]), generator=draw).double().softmax(-1)
        for group, rows in context.candidates.items()
    }


def test_the_expected_cost_of_nas201_sums_all_edges() -> None:
    cost, context = cost_and_context("nas201")
    p = random_probabilities(context)["cell"]
    table = cost.tables["cell"]
    expected = sum(float(p[e, c] * table[e, c]) for e in range(6) for c in range(5))
    assert float(cost({"cell": p})) == pytest.approx(expected + cost.fixed)
    assert not table[:, [0, 1, 4]].any()  # none, skip_connect and pooling are free
    assert (table[:, 3] == 9 * table[:, 2]).all()  # 3x3 and 1x1 convolutions


def test_the_expected_cost_of_cnn_sums_two_edges_per_node() -> None:
    """Edges are kept with probabilities proportional to their strength, without ``none``."""
    cost, context = cost_and_context("cnn")
    probabilities = random_probabilities(context)
    expected = cost.fixed
    for cell in ("normal", "reduce"):
        p, table = probabilities[cell].tolist(), cost.tables[cell].tolist()
        first = 0
        for inputs in range(2, 6):
            strength = [1 - p[edge][0] for edge in range(first, first + inputs)]
            for edge, own in enumerate(strength, first):
                probability = min(1.0, 2 * own / sum(strength))
                chosen = zip(p[edge][1:], table[edge][1:], strict=True)
                expected += probability * sum(a / own * b for a, b in chosen)
            first += inputs
    assert float(cost(probabilities)) == pytest.approx(expected)


@pytest.mark.parametrize("space", ["cnn", "nas201"])
def test_the_gradient_of_the_penalty_equals_finite_differences(space: str) -> None:
    costs, targets = {}, {}
    for name in ("flops", "parameters"):
        cost, context = cost_and_context(space, name)
        costs[name] = cost
        targets[name] = 0.5 * float(cost(random_probabilities(context)))
    penalty = Penalty(costs, targets, weight=3.0)
    point = random_probabilities(context)
    leaves = [p.requires_grad_() for p in point.values()]
    value = penalty(point)
    assert float(value.detach()) == pytest.approx(3.0 * 2)  # each cost is twice its target
    assert all(gradient.any() for gradient in torch.autograd.grad(value, leaves))

    def function(*tables: Tensor) -> Tensor:
        return penalty(dict(zip(point, tables, strict=True)))

    assert torch.autograd.gradcheck(function, leaves, rtol=1e-5, atol=1e-7)


def test_the_penalty_is_zero_below_the_target_and_proportional_above() -> None:
    cost, context = cost_and_context("nas201")
    p = random_probabilities(context)
    actual = float(cost(p))

    def penalty(target: float) -> tuple[float, bool]:
        leaves = {group: value.clone().requires_grad_() for group, value in p.items()}
        value = Penalty({"flops": cost}, {"flops": target}, weight=2.0)(leaves)
        value.backward()
        gradient = leaves["cell"].grad
        return float(value.detach()), gradient is not None and bool(gradient.any())

    assert penalty(1.1 * actual) == (0.0, False)
    value, has_gradient = penalty(0.8 * actual)
    assert value == pytest.approx(2 * 0.25)
    assert has_gradient
    expected = Penalty({"flops": cost}, {"flops": 1.0}, 1.0).expected(p)
    assert expected == {"expected_flops": pytest.approx(actual)}


def test_a_checkpoint_restores_measured_tables() -> None:
    """A second measurement of latencies would give other numbers."""
    cost, context = cost_and_context("nas201", "latency")
    assert cost.fixed > 0
    assert (cost.tables["cell"][:, 3] > 0).all()
    saved = Penalty({"latency": cost}, {"latency": 1e-9}, 1.0)
    other = Penalty({"latency": cost_and_context("nas201", "latency")[0]}, {"latency": 1e-9}, 1.0)
    p = random_probabilities(context)
    other.load_state_dict(saved.state_dict())
    assert float(other(p)) == float(saved(p))


def test_equal_modules_are_measured_once() -> None:
    measure = Mock(return_value=1.0)
    context, _ = context_and_supernet("nas201", cells=2)
    cost = ExpectedCost.measured(
        context.space, context.candidates, classes=3, sample_shape=(3, 8, 8), measure=measure
    )
    given = [call.args for call in measure.call_args_list]
    calls = [(str(module), tuple(example.shape)) for module, example in given]
    assert len(calls) == len(set(calls))
    assert (cost.tables["cell"] == 6).all()  # two cells in each of three stages
    assert cost.fixed == 4  # stem, two residual blocks, head
