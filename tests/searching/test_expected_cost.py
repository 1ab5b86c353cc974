"""Expected costs equal the costs of networks and are differentiable in the probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tiny_search import BUILT_IN, context_and_supernet
from torch import Tensor, nn

from darts.searching.expected_cost import MEASURES, ExpectedCost, Penalty
from darts.spaces import SPACES, SearchContext
from darts.training.cost import count_macs, count_parameters

CPU = torch.device("cpu")


def measure_cost(
    space: Any, context: SearchContext, name: str, sample_shape: tuple[int, ...]
) -> ExpectedCost:
    return ExpectedCost.measured(
        space,
        context.candidates,
        classes=3,
        sample_shape=sample_shape,
        measure=MEASURES[name],
        device=CPU,
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


SIZES: dict[str, list[dict[str, Any]]] = {
    "cnn": [{}, {"stem": "imagenet"}, {"candidates": "s1"}, {"candidates": "s4"}]
}


@pytest.mark.parametrize("sample_shape", [(3, 32, 32), (1, 13, 18)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        (name, options)
        for name in BUILT_IN
        if "images" in SPACES[name].data_kinds  # text spaces count per token, see their tests
        for options in SIZES.get(name, [{}])
    ],
)
def test_the_expected_cost_of_one_architecture_is_the_cost_of_its_network(
    name: str, options: dict[str, Any], sample_shape: tuple[int, int, int]
) -> None:
    context, _ = context_and_supernet(name, channels=4, cells=4, **options)
    space = context.space
    costs = {
        cost: measure_cost(space, context, cost, sample_shape) for cost in ("flops", "parameters")
    }
    draw = torch.Generator().manual_seed(1)
    costs_of_networks = set()
    for _ in range(4):
        genotype = space.random(draw)
        net = space.network(genotype, classes=3, in_channels=space.in_channels(sample_shape))
        chosen = {g: m.double() for g, m in space.mask(genotype, context.candidates).items()}
        flops = 2 * count_macs(net, torch.zeros(1, *sample_shape))
        assert float(costs["flops"](chosen)) == flops
        assert float(costs["parameters"](chosen)) == count_parameters(net.parameters())
        costs_of_networks.add(flops)
    assert len(costs_of_networks) > 1


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


def finite_difference(function: Any, point: Mapping[str, Tensor], step: float) -> dict[str, Tensor]:
    """Return the gradient by central differences of each entry."""
    gradients = {}
    for group, values in point.items():
        gradient = torch.zeros_like(values)
        for index in range(values.numel()):
            change = torch.zeros_like(values)
            change.view(-1)[index] = step
            up, down = (function({**point, group: values + s * change}) for s in (1, -1))
            gradient.view(-1)[index] = (up - down) / (2 * step)
        gradients[group] = gradient
    return gradients


@pytest.mark.parametrize("space", ["cnn", "nas201"])
def test_the_gradient_of_the_penalty_equals_finite_differences(space: str) -> None:
    costs, targets = {}, {}
    for name in ("flops", "parameters"):
        cost, context = cost_and_context(space, name)
        costs[name] = cost
        targets[name] = 0.5 * float(cost(random_probabilities(context)))
    penalty = Penalty(costs, targets, weight=3.0)
    point = random_probabilities(context)
    leaves = {group: p.clone().requires_grad_() for group, p in point.items()}
    value = penalty(leaves)
    assert float(value.detach()) == pytest.approx(3.0 * 2)  # each cost is twice its target
    value.backward()
    expected = finite_difference(lambda p: penalty(p), point, 1e-6)
    for group, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, expected[group], rtol=1e-5, atol=1e-7)
        assert expected[group].any()


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
    calls = []

    def measure(module: nn.Module, example: Tensor) -> float:
        calls.append((str(module), tuple(example.shape)))
        return 1.0

    context, _ = context_and_supernet("nas201", cells=2)
    cost = ExpectedCost.measured(
        context.space, context.candidates, classes=3, sample_shape=(3, 8, 8), measure=measure
    )
    assert len(calls) == len(set(calls))
    assert (cost.tables["cell"] == 6).all()  # two cells in each of three stages
    assert cost.fixed == 4  # stem, two residual blocks, head
