"""Expected costs of models of the user's own equal the costs of their networks."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from own_models import SmallNet, convolution
from torch import Tensor, nn

import darts
from darts.judging.devices.memory import count_weights
from darts.judging.limits.decisions import GenotypeDecisions
from darts.judging.limits.genotype_limits import GenotypeLimits
from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces import AnyGenotype, SearchContext
from darts.spaces.module import Module
from darts.spaces.module.space import Network
from darts.spaces.module.targets import passed
from darts.training.cost import count_macs, count_parameters

SHAPE = (3, 8, 8)


class Deep(nn.Module):
    """A number of blocks that contain choices, a choice of inputs, and keyword arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 4, 3)
        self.depth = darts.Repeat(self.block, min=0, max=2)
        self.merge = darts.InputChoice(inputs=3, keep=2)
        self.scaled = darts.Choice({"wide": Affine(4, 8), "narrow": Affine(4, 2)})
        self.head = nn.Linear(4, 3)

    @staticmethod
    def block() -> nn.Module:
        nested = {"big": convolution(4, 4, 3), "small": convolution(4, 4, 1)}
        return nn.Sequential(convolution(4, 4, 1), darts.Choice(nested))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.merge(x, self.depth(x), 2 * x)
        return self.head(self.scaled(x.mean((2, 3)), factor=2.0))


class Affine(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.Linear(hidden, width))

    def forward(self, x: Tensor, *, factor: float) -> Tensor:
        y: Tensor = self.net(x)
        return factor * y


MODELS = {"small": SmallNet, "deep": Deep}


def flash(module: nn.Module, _: object) -> float:
    return float(count_weights(module))


def expected_cost(space: Module, name: str) -> tuple[ExpectedCost, SearchContext]:
    net = space.supernet(classes=3, in_channels=3)
    context = SearchContext.from_supernet(space, net)
    cost = ExpectedCost.measured(
        space, context.candidates, classes=3, sample_shape=SHAPE,
        measure=flash if name == "flash" else MEASURES[name],
        device=torch.device("cpu"),
    )  # fmt: skip
    return cost, context


def cost_of(model: nn.Module, genotype: object, name: str) -> float:
    net = Network(genotype, copy.deepcopy(model), 3)  # type: ignore[arg-type]
    if name == "parameters":
        return count_parameters(net.parameters())
    if name == "flash":
        return count_weights(net)
    return 2 * count_macs(net, torch.zeros(1, *SHAPE))


@pytest.mark.parametrize(
    ("model", "name"), [*itertools.product(MODELS, ["flops", "parameters"]), ("small", "flash")]
)
def test_the_cost_of_one_architecture_is_that_of_its_network(model: str, name: str) -> None:
    """Also of choices that are used twice, share their alphas, or are inside of others.

    What stands for a choice needs no flash.
    """
    base, space = MODELS[model](), Module()
    draw = torch.Generator().manual_seed(0)
    with passed(base):
        cost, context = expected_cost(space, name)
        found = set()
        for _ in range(12):
            genotype = space.random(draw)
            chosen = {g: m.double() for g, m in space.mask(genotype, context.candidates).items()}
            found.add(float(cost(chosen)))
            assert float(cost(chosen)) == cost_of(base, genotype, name)
    assert len(found) > 2


@pytest.mark.parametrize("model", MODELS)
def test_the_expected_cost_is_the_mean_over_all_architectures(model: str) -> None:
    base, space = MODELS[model](), Module()
    with passed(base):
        cost, context = expected_cost(space, "flops")
        draw = torch.Generator().manual_seed(1)
        probabilities = {
            group: torch.rand(len(rows), len(rows[0]), generator=draw, dtype=torch.float64)
            for group, rows in context.candidates.items()
        }
        normalized = {g: p / p.sum(1, keepdim=True) for g, p in probabilities.items()}
        parameters = space.parameters()
        mean = 0.0
        for names in itertools.product(*(p.domain.grid(99) for p in parameters)):
            point = dict(zip([p.name for p in parameters], names, strict=True))
            genotype = space.decode(point)
            mask = space.mask(genotype, context.candidates)
            weight = torch.stack([normalized[g][m].prod() for g, m in mask.items()]).prod()
            mean += float(weight) * cost_of(base, genotype, "flops")
        assert float(cost(probabilities)) == pytest.approx(mean, rel=1e-9)


def test_the_gradient_of_a_nested_choice_equals_finite_differences() -> None:
    with passed(Deep()):
        cost, context = expected_cost(Module(), "flops")
        p = {
            group: torch.full((len(rows), len(rows[0])), 0.4, dtype=torch.float64)
            for group, rows in context.candidates.items()
        }
        leaves = [table.requires_grad_() for table in p.values()]
        scale = float(cost(p).detach())

        def scaled(*tables: Tensor) -> Tensor:
            return cost(dict(zip(p, tables, strict=True))) / scale

        assert torch.autograd.gradcheck(scaled, leaves)


class Ambiguous(nn.Module):
    """Two choices share their alphas, and one of them is inside of a candidate."""

    def __init__(self) -> None:
        super().__init__()
        pair = [darts.Choice({"a": nn.Identity(), "b": nn.ReLU()}, key="shared") for _ in range(2)]
        self.outer = darts.Choice({"one": pair[0], "two": nn.Identity()})
        self.inner, self.head = pair[1], nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(self.outer(x)).mean((2, 3)))


def test_shared_choices_in_different_candidates_are_rejected() -> None:
    with passed(Ambiguous()), pytest.raises(ValueError, match="'shared' are in different candid"):
        expected_cost(Module(), "flops")


def test_limits_hold_for_own_models() -> None:
    with passed(SmallNet()):
        space = Module()
        expected, context = expected_cost(space, "flash")

        def masks(genotype: AnyGenotype) -> dict[str, Tensor]:
            return {g: m.double() for g, m in space.mask(genotype, context.candidates).items()}

        def cost(genotype: AnyGenotype) -> float:
            return float(expected(masks(genotype)))

        draw = torch.Generator().manual_seed(0)
        sample = sorted((space.random(draw) for _ in range(10)), key=cost)
        bound, decisions = cost(sample[2]), GenotypeDecisions.of(context)
        context.limit = GenotypeLimits(
            decisions, {"flash_kb": cost}, {"flash_kb": bound}, context.uniform()
        )
        assert cost(context.derive(masks(sample[-1]))) <= bound < cost(sample[-1])
