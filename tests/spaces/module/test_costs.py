"""Costs of models with choices, choices of inputs, and repeated blocks."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from own_models import (
    CHAIN_ANSWER,
    Chain,
    PlantedChain,
    Scale,
    SmallNet,
    convolution,
    require_mixture,
    search_planted,
)
from torch import Tensor, nn

import darts
from darts.judging.devices.memory import count_weights
from darts.judging.limits.decisions import GenotypeDecisions
from darts.judging.limits.genotype_limits import GenotypeLimits
from darts.searching.expected_cost import MEASURES, ExpectedCost
from darts.spaces import SearchContext
from darts.spaces.module import Module
from darts.spaces.module.choice import BaseChoice
from darts.spaces.module.space import Network, Supernet
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
    )  # fmt: skip
    return cost, context


@pytest.mark.parametrize(
    ("model", "name"), [*itertools.product(MODELS, ["flops", "parameters"]), ("small", "flash")]
)
def test_the_expected_cost_is_the_mean_over_all_architectures(model: str, name: str) -> None:
    """Also of choices that are used twice, share their alphas, or are inside of others.

    What stands for a choice needs no flash.
    """
    base, space = MODELS[model](), Module()
    with passed(base):
        cost, context = expected_cost(space, name)
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
            net = Network(genotype, copy.deepcopy(base), 3)  # type: ignore[arg-type]
            own = {
                "parameters": count_parameters(net.parameters()),
                "flash": count_weights(net),
                "flops": 2 * count_macs(net, torch.zeros(1, *SHAPE)),
            }[name]
            assert cost.of_genotype(genotype) == own
            mean += float(weight) * own
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
        cost, draw = expected.of_genotype, torch.Generator().manual_seed(0)
        sample = sorted((space.random(draw) for _ in range(10)), key=cost)
        bound, decisions = cost(sample[2]), GenotypeDecisions.of(context)
        given = (decisions, {"flash_kb": cost}, {"flash_kb": bound})
        context.limit = GenotypeLimits(*given, context.uniform())
        mask = space.mask(sample[-1], context.candidates)
        found = context.derive({group: own.double() for group, own in mask.items()})
        assert cost(found) <= bound < cost(sample[-1])


def by_hand(model: Any, x: Tensor, tables: dict[str, Tensor]) -> Tensor:
    """Return the logits of a mixture that is written out."""
    merge, depth = tables["choices3"]
    (inner,) = tables["choices2"]
    x = model.stem(x)
    inputs = [x, x**2, -x]
    pairs = [inputs[0] + inputs[1], inputs[0] + inputs[2], inputs[1] + inputs[2]]
    x = merge[0] * pairs[0] + merge[1] * pairs[1] + merge[2] * pairs[2]
    one = model.depth.blocks[0](x)
    two = inner[0] * model.depth.blocks[1].candidates["conv"](one) + inner[1] * one
    x = depth[0] * x + depth[1] * one + depth[2] * two
    return model.classifier(x.mean((2, 3)))


def test_logits_and_gradients_equal_those_of_a_mixture_written_by_hand() -> None:
    torch.manual_seed(0)
    net = Supernet(Chain(), 3).double()
    assert [row.key for row in net.rows] == ["merge", "depth", "depth.blocks.1"]
    assert net.rows[0].names == ("0+1", "0+2", "1+2")
    assert net.rows[1].names == ("0", "1", "2")
    require_mixture(net, by_hand)


def test_outside_of_a_search_all_candidates_have_equal_weights() -> None:
    inputs = [torch.randn(2, 3) for _ in range(4)]
    merged = darts.InputChoice(inputs=4, keep=2)(*inputs)
    torch.testing.assert_close(merged, sum(inputs) / 2)
    chain = darts.Repeat(lambda: Scale(3.0), min=1, max=3)
    torch.testing.assert_close(chain(inputs[0]), (3 + 9 + 27) / 3 * inputs[0])


def test_the_network_of_a_genotype_runs_what_was_chosen_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = Chain().eval()
    x = torch.randn(2, 3, 8, 8)
    with passed(model):
        space = Module(target="own_models:Chain")
        net = Supernet(model, 3)
        generator = torch.Generator().manual_seed(0)
        genotypes = {space.random(generator) for _ in range(300)}
        assert len(genotypes) == 3 * 3 * 2
        for genotype in genotypes:
            assert space.decode(space.encode(genotype)) == genotype
            masks = {g: m.float() for g, m in space.mask(genotype, net.candidates).items()}
            assert space.derive(masks, net.candidates) == genotype
            network = Network(genotype, copy.deepcopy(model), 3).plain()
            assert not any(isinstance(m, BaseChoice) for m in network.modules())
            torch.testing.assert_close(network(x), by_hand(model, x, masks))


def test_a_network_has_the_weights_of_a_model_without_choices() -> None:
    """Its ``state_dict`` fits a model that is written with PyTorch's modules only."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = convolution(3, 4, 3)
            self.depth = nn.Sequential(convolution(4, 4, 1), convolution(4, 4, 1))
            self.classifier = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.classifier(self.depth(x + x.square()).mean((2, 3)))

    with passed(Chain()):
        point = {"merge": "0+1", "depth": "2", "depth.blocks.1": "conv"}
        genotype = Module().decode(point)
    network = Network(genotype, Chain(), 3).plain().eval()
    plain = Plain().eval()
    plain.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(plain(x), network(x))


def test_blocks_beyond_the_active_depths_do_not_run() -> None:
    chain = darts.Repeat(lambda: Scale(2.0), min=0, max=4)
    ran: list[int] = []
    for number, block in enumerate(chain.blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    x = torch.ones(1)
    for depth in range(5):
        ran.clear()
        chain.mix(torch.eye(5)[depth], (depth,))
        assert chain(x) == 2.0**depth
        assert ran == list(range(depth))


@pytest.mark.usefixtures("cwd")
def test_a_search_finds_the_planted_answer() -> None:
    torch.manual_seed(0)
    assert search_planted(PlantedChain(), "darts_v1", []) == CHAIN_ANSWER


def test_operations_that_can_be_frozen_are_the_blocks() -> None:
    rows = Supernet(Chain(), 3).operation_rows()
    assert list(rows) == ["depth.0.1", "depth.0.2", "depth.blocks.1.0.conv"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: darts.InputChoice(3, 3), "cannot keep 3 of 3 inputs"),
        (lambda: darts.InputChoice(3, 0), "cannot keep 0 of 3 inputs"),
        (lambda: darts.InputChoice(20, 10), "has 184,756 candidates; at most 1,000"),
        (lambda: darts.InputChoice(2, key="a b"), "the name 'a b' must be an identifier"),
        (lambda: darts.Repeat(nn.Identity, min=2, max=2), "min=2 to max=2 blocks: needs"),
        (lambda: darts.Repeat(nn.Identity, min=-1, max=2), "needs 0 <= min < max"),
        (lambda: darts.Repeat(itertools.repeat(nn.Identity()).__next__, min=0, max=2),
         "must return a new block"),
        (lambda: darts.InputChoice(2)(torch.ones(1)), "has 2 inputs, but got 1"),
        (lambda: darts.InputChoice(2)(torch.ones(1), torch.ones(2)), r"shape, not 0 \(1,\), 1 \("),
        (lambda: darts.InputChoice(2)([1, torch.ones(2)]), "one shape, not 0 int"),
        (lambda: darts.Repeat(lambda: nn.Linear(4, 2), min=0, max=1)(torch.ones(1, 4)),
         r"Repeat\(0, 1\): outputs must be .* of one shape, not 0 \(1, 4\), 1 \(1, 2\)"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_rejected_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert len(str(caught.value).splitlines()) == 1
