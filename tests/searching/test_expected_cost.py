"""Expected costs: those of the network for a single architecture, differentiable in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tiny_search import make_batch, make_searcher, context_and_supernet
from torch import Tensor, nn

from darts.methods.relaxation import RELAXATIONS
from darts.searching.expected_cost import MEASURES, ExpectedCost, Penalty
from darts.spaces import SPACES, SearchContext
from darts.training.cost import count_macs, count_parameters

CPU = torch.device("cpu")


def measured(space: Any, context: SearchContext, name: str, image: tuple[int, ...]) -> ExpectedCost:
    return ExpectedCost.measured(
        space, context.candidates, classes=3, image=image, measure=MEASURES[name], device=CPU
    )


def table_cost(space: str = "cnn", name: str = "flops") -> tuple[ExpectedCost, SearchContext]:
    context, _ = context_and_supernet(space, cells=3 if space == "cnn" else 1)
    return measured(context.space, context, name, (3, 8, 8)), context


def random_probabilities(context: SearchContext, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        group: torch.randn(len(rows), len(rows[0]), generator=draw).double().softmax(-1)
        for group, rows in context.candidates.items()
    }


SIZES: dict[str, list[dict[str, Any]]] = {
    "cnn": [{}, {"stem": "imagenet"}, {"candidates": "s1"}, {"candidates": "s4"}]
}


@pytest.mark.parametrize("image", [(3, 32, 32), (1, 13, 18)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        (name, options)
        for name in SPACES
        if "images" in SPACES[name].data_kinds  # of tokens the costs are a token's, see their own tests
        for options in SIZES.get(name, [{}])
    ],
)
def test_of_one_architecture_they_are_the_networks(
    name: str, options: dict[str, Any], image: tuple[int, int, int]
) -> None:
    """Exactly, for random architectures of every space."""
    context, _ = context_and_supernet(name, channels=4, cells=4, **options)
    space = context.space
    costs = {cost: measured(space, context, cost, image) for cost in ("flops", "parameters")}
    draw = torch.Generator().manual_seed(1)
    seen = set()
    for _ in range(4):
        genotype = space.random(draw)
        net = space.network(genotype, classes=3, in_channels=space.in_channels(image))
        chosen = {g: m.double() for g, m in space.mask(genotype, context.candidates).items()}
        flops = 2 * count_macs(net, torch.zeros(1, *image))
        assert float(costs["flops"](chosen)) == flops
        assert float(costs["parameters"](chosen)) == count_parameters(net.parameters())
        seen.add(flops)
    assert len(seen) > 1


def test_written_out_on_nas201() -> None:
    """Every edge is there, and each operation counts with its probability."""
    cost, context = table_cost("nas201")
    p = random_probabilities(context)["cell"]
    table = cost.tables["cell"]
    wanted = sum(float(p[e, c] * table[e, c]) for e in range(6) for c in range(5))
    assert float(cost({"cell": p})) == pytest.approx(wanted + cost.fixed)
    assert not table[:, [0, 1, 4]].any()  # neither none, skips nor pools
    assert (table[:, 3] == 9 * table[:, 2]).all()  # a 3x3 convolution and a 1x1 one


def test_written_out_on_cnn() -> None:
    """Two edges a node are kept, as strong ones as there are, and carry anything but ``none``."""
    cost, context = table_cost("cnn")
    probabilities = random_probabilities(context)
    wanted = cost.fixed
    for cell in ("normal", "reduce"):
        p, table = probabilities[cell].tolist(), cost.tables[cell].tolist()
        first = 0
        for inputs in range(2, 6):
            strength = [1 - p[edge][0] for edge in range(first, first + inputs)]
            for edge, own in enumerate(strength, first):
                surely = min(1.0, 2 * own / sum(strength))
                chosen = zip(p[edge][1:], table[edge][1:], strict=True)
                wanted += surely * sum(a / own * b for a, b in chosen)
            first += inputs
    assert float(cost(probabilities)) == pytest.approx(wanted)


@pytest.mark.parametrize("space", ["cnn", "nas201"])
def test_weights_of_edges_share_out_edges_and_not_operations(space: str) -> None:
    """With edge normalization, the architecture that is read out costs what it does without."""
    cost, context = table_cost(space)
    relaxation = RELAXATIONS["softmax"](edge_normalization=True)
    draw = torch.Generator().manual_seed(2)
    genotype = context.space.random(draw)
    alphas = {}
    for group, mask in context.space.mask(genotype, context.candidates).items():
        alphas[group] = torch.where(mask, 40.0, 0.0).double()
        alphas[f"{group}_edges"] = torch.where(mask.any(1), 40.0, 0.0).double()
    net = context.space.network(genotype, classes=3, in_channels=3)
    flops = 2 * count_macs(net, torch.zeros(1, 3, 8, 8))
    assert float(cost(relaxation.probabilities(alphas, context))) == pytest.approx(flops)


def finite_difference(function: Any, point: Mapping[str, Tensor], step: float) -> dict[str, Tensor]:
    """The gradient, entry by entry."""
    found = {}
    for group, values in point.items():
        gradient = torch.zeros_like(values)
        for place in range(values.numel()):
            change = torch.zeros_like(values)
            change.view(-1)[place] = step
            up, down = (function({**point, group: values + s * change}) for s in (1, -1))
            gradient.view(-1)[place] = (up - down) / (2 * step)
        found[group] = gradient
    return found


@pytest.mark.parametrize("space", ["cnn", "nas201"])
def test_the_gradient_of_the_penalty(space: str) -> None:
    costs, targets = {}, {}
    for name in ("flops", "parameters"):
        cost, context = table_cost(space, name)
        costs[name] = cost
        targets[name] = 0.5 * float(cost(random_probabilities(context)))
    penalty = Penalty(costs, targets, weight=3.0)
    point = random_probabilities(context)
    leaves = {group: p.clone().requires_grad_() for group, p in point.items()}
    value = penalty(leaves)
    assert float(value.detach()) == pytest.approx(3.0 * 2)  # each twice its target
    value.backward()
    wanted = finite_difference(lambda p: penalty(p), point, 1e-6)
    for group, leaf in leaves.items():
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, wanted[group], rtol=1e-5, atol=1e-7)
        assert wanted[group].any()


def test_nothing_below_the_target_and_a_share_above() -> None:
    cost, context = table_cost("nas201")
    p = random_probabilities(context)
    here = float(cost(p))

    def penalty(target: float) -> tuple[float, bool]:
        leaves = {group: value.clone().requires_grad_() for group, value in p.items()}
        value = Penalty({"flops": cost}, {"flops": target}, weight=2.0)(leaves)
        value.backward()
        gradient = leaves["cell"].grad
        return float(value.detach()), gradient is not None and bool(gradient.any())

    assert penalty(1.1 * here) == (0.0, False)
    value, moves = penalty(0.8 * here)
    assert value == pytest.approx(2 * 0.25)
    assert moves
    expected = Penalty({"flops": cost}, {"flops": 1.0}, 1.0).expected(p)
    assert expected == {"expected_flops": pytest.approx(here)}


def test_tables_of_a_checkpoint_are_gone_on_with() -> None:
    """A latency measured anew would be another one."""
    cost, context = table_cost("nas201", "latency")
    assert cost.fixed > 0
    assert (cost.tables["cell"][:, 3] > 0).all()
    saved = Penalty({"latency": cost}, {"latency": 1e-9}, 1.0)
    other = Penalty({"latency": table_cost("nas201", "latency")[0]}, {"latency": 1e-9}, 1.0)
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
        context.space, context.candidates, classes=3, image=(3, 8, 8), measure=measure, device=CPU
    )
    assert len(calls) == len(set(calls))
    assert (cost.tables["cell"] == 6).all()  # two cells in each of three stages
    assert cost.fixed == 4  # stem, two residual blocks, head


def test_a_search_with_a_penalty_ends_with_cheaper_operations() -> None:
    """The same steps on the same batches, with and without it."""
    found = {}
    for weight in (0.0, 5.0):
        searcher = make_searcher("space=nas201", "space.cells=1", "arch_optimizer.lr=0.05")
        cost = measured(searcher.config.space, searcher.context, "flops", (3, 8, 8))
        start = float(cost(searcher.probabilities()))
        searcher.alpha_cost = Penalty({"flops": cost}, {"flops": 0.5 * start}, weight)
        searcher.begin_epoch(0)
        torch.manual_seed(1)
        for step in range(15):
            searcher.arch_step(make_batch(step), make_batch(100 + step))
            searcher.weight_step(make_batch(step))
        found[weight] = float(cost(searcher.probabilities()))
    assert found[5.0] < 0.75 * start
    assert found[5.0] < 0.75 * found[0.0]


def test_a_setting_that_has_dropped_candidates() -> None:
    """What is not kept costs nothing."""
    cost, context = table_cost("nas201")
    kept = torch.zeros(6, 5, dtype=torch.bool)
    kept[:, 1] = True
    dropped = dataclasses.replace(context, masks={"cell": kept})
    alphas = {"cell": torch.randn(6, 5).double()}
    expected = RELAXATIONS["softmax"]().probabilities(alphas, dropped)
    assert float(cost(expected)) == pytest.approx(cost.fixed)
