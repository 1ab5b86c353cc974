"""The most probable genotypes within limits and budgets, compared with enumerations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from slow_cases import slow_except
from tiny_search import CLASSES, IMAGE, context_and_supernet, small_space
from torch import Tensor

from darts.config import ConfigError, compose
from darts.data_modules import make_data_module
from darts.judging.devices.cell_features import is_connected
from darts.judging.devices.memory import count_weights
from darts.judging.limits.costs import CostMeter
from darts.judging.limits.decisions import GenotypeDecisions
from darts.judging.limits.front_budgets import Budgets, check_front
from darts.judging.limits.genotype_limits import GenotypeLimits, best_choice
from darts.searching.expected_cost import ExpectedCost
from darts.spaces import AnyGenotype, SearchContext
from darts.spaces.nas201.genotype import PRIMITIVES, Genotype
from darts.training.cost import count_macs, count_parameters
from darts.training.distributed import Ranks

IMAGE_SPACES = ("cnn", "nas201", "macro", "mlp")
TEXT_SPACES = ("recurrent", "transformer")
QUICK = ("mlp", "recurrent")
ALL = slow_except((*IMAGE_SPACES, *TEXT_SPACES), QUICK)
Costs = dict[str, Callable[[AnyGenotype], float]]


@dataclass
class Case:
    """A small space: its context, what limits read, and what measures whole networks instead."""

    context: SearchContext
    costs: Costs
    truth: Costs

    def limited(self, limits: Mapping[str, float]) -> GenotypeLimits:
        costs = {name: self.costs[name] for name in limits}
        decisions = GenotypeDecisions.of(self.context)
        limit = GenotypeLimits(decisions, costs, limits, self.context.uniform())
        self.context.limit = limit
        return limit


def make_case(name: str) -> Case:
    if name in TEXT_SPACES:
        return text_case(name)
    context, _ = context_and_supernet(name, cells=2 if name == "mlp" else 1)
    sizes = {"classes": CLASSES, "in_channels": context.space.in_channels(IMAGE)}

    def build(genotype: AnyGenotype) -> torch.nn.Module:
        with torch.device("meta"):
            return context.space.network(genotype, **sizes).eval()

    def pieces(measure: Any) -> Callable[[AnyGenotype], float]:
        sizes: Any = {"classes": CLASSES, "sample_shape": IMAGE}
        space, candidates = context.space, context.candidates
        return ExpectedCost.measured(space, candidates, measure=measure, **sizes).of_genotype

    example = torch.empty(1, *IMAGE, device="meta")
    truth: Costs = {
        "macs": lambda genotype: float(count_macs(build(genotype), example)),
        "parameters": lambda genotype: float(count_parameters(build(genotype).parameters())),
        "flash_kb": lambda genotype: count_weights(build(genotype)) / 256,
    }
    measures = CostMeter(dict.fromkeys(truth, 1.0)).measures()
    return Case(context, {key: pieces(measures[key]) for key in truth}, truth)


def text_case(name: str) -> Case:
    """Return a case with latencies of a random table, as other costs hardly differ."""
    space = small_space(name, nodes=3, embedding=8, hidden=8, cells=2)
    sizes: dict[str, Any] = {"vocab_size": 11}
    if name == "transformer":
        sizes["classes"] = CLASSES
    context = SearchContext.from_supernet(space, space.supernet(**sizes))
    draw = torch.Generator().manual_seed(1)
    table = {
        group: torch.rand(len(rows), len(rows[0]), generator=draw)
        for group, rows in context.candidates.items()
    }

    def latency(genotype: AnyGenotype) -> float:
        masks = space.mask(genotype, context.candidates)
        return 1.0 + sum(float(table[group][mask].sum()) for group, mask in masks.items())

    return Case(context, {"latency_ms": latency}, {"latency_ms": latency})


def probabilities_of(context: SearchContext, seed: int, scale: float = 2.0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for group, rows in context.candidates.items():
        logits = scale * torch.randn(len(rows), len(rows[0]), generator=draw).double()
        mask = context.masks.get(group)
        if mask is not None:
            logits = logits.masked_fill(~mask, -math.inf)
        found[group] = logits.softmax(-1)
    return found


def limits_between(case: Case, names: tuple[str, ...], share: float) -> dict[str, float]:
    """Return limits that lie at a share of the range of 40 random networks."""
    draw = torch.Generator().manual_seed(5)
    sample = [case.context.space.random(draw) for _ in range(40)]
    limits = {}
    for name in names:
        values = sorted(case.truth[name](genotype) for genotype in sample)
        limits[name] = values[0] + share * (values[-1] - values[0])
    return limits


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("mlp", ("parameters",)),
        ("recurrent", ("latency_ms",)),
        *(pytest.param(name, ("macs",), marks=pytest.mark.slow) for name in IMAGE_SPACES),
        *(pytest.param(own, ("flash_kb", "macs"), marks=pytest.mark.slow) for own in IMAGE_SPACES),
        pytest.param("transformer", ("latency_ms",), marks=pytest.mark.slow),
    ],
)
def test_limits_hold_in_random_cases(name: str, chosen: tuple[str, ...]) -> None:
    case = make_case(name)
    context, changed = case.context, 0
    for share in (0.1, 0.3, 0.6):
        limits = limits_between(case, chosen, share)
        case.limited(limits)
        for seed in range(3 if name in QUICK else 20):
            p = probabilities_of(context, seed)
            genotype = context.derive(p)
            for cost, limit in limits.items():
                assert case.truth[cost](genotype) <= limit, (share, seed, cost)
            mask = {group: own.double() for group, own in context.derived_mask(p).items()}
            again = context.space.derive(mask, context.candidates)
            assert again.canonical() == genotype.canonical()
            changed += genotype != context.space.derive(p, context.candidates)
    assert changed > 0


def best_by_trial(
    context: SearchContext, p: Mapping[str, Tensor], fits: Callable[[AnyGenotype], bool]
) -> float:
    """Return the largest product of probabilities of all genotypes that fit, as a logarithm."""
    decisions = GenotypeDecisions.of(context)
    scores = decisions.scores(p)
    best = -math.inf
    for choice in itertools.product(*(range(len(own)) for own in decisions.options)):
        score = sum(float(own[option]) for own, option in zip(scores, choice, strict=True))
        if score > best and fits(decisions.genotype(choice)):
            best = score
    return best


def score_of(context: SearchContext, p: Mapping[str, Tensor], genotype: AnyGenotype) -> float:
    masks = context.space.mask(genotype, context.candidates)
    return sum(float(p[group][mask].log().sum()) for group, mask in masks.items())


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("mlp", "macs"),
        ("recurrent", "latency_ms"),
        pytest.param("nas201", "macs", marks=pytest.mark.slow),
    ],
)
def test_the_genotype_is_the_most_probable_one_within_the_limit(name: str, cost: str) -> None:
    case = make_case(name)
    limit = case.limited(limits_between(case, (cost,), 0.3))
    for seed in range(3):
        p = probabilities_of(case.context, seed)
        best = best_by_trial(case.context, p, limit.allows)
        found = case.context.derive(p)
        assert score_of(case.context, p, found) == pytest.approx(best, abs=1e-9)


@pytest.mark.slow
def test_costs_that_are_not_sums_keep_their_limit() -> None:
    """The cost of this test depends on pairs of edges."""
    context, _ = context_and_supernet("nas201")

    def cost(genotype: Any) -> float:
        convolutions = [name.startswith("nor_conv") for name in genotype.operations]
        pairs = sum(a and b for a, b in itertools.pairwise(convolutions))
        return 1.0 + sum(convolutions) + 2.5 * pairs

    for bound in (1.0, 2.0, 4.5, 8.0):
        limits = {"macs": bound}
        decisions = GenotypeDecisions.of(context)
        limit = GenotypeLimits(decisions, {"macs": cost}, limits, context.uniform())
        context.limit = limit
        lost = []
        for seed in range(15):
            p = probabilities_of(context, seed)
            genotype = context.derive(p)
            assert cost(genotype) <= bound
            best = best_by_trial(context, p, limit.allows) if seed < 2 else math.nan
            lost.append(best - score_of(context, p, genotype))
        assert all(loss < 2.0 for loss in lost if not math.isnan(loss))


def test_a_genotype_within_the_limits_is_not_changed() -> None:
    case = make_case("cnn")
    context = case.context
    case.limited({"parameters": 1e9})
    for seed in range(5):
        p = probabilities_of(context, seed)
        assert str(context.derive(p)) == str(context.space.derive(p, context.candidates))


@pytest.mark.parametrize("name", ALL)
def test_impossible_limits_are_refused_with_the_smallest_cost(name: str) -> None:
    case = make_case(name)
    key = next(iter(case.costs))
    with pytest.raises(ConfigError) as error:
        case.limited({key: 0.5})
    text = str(error.value)
    assert text.startswith(f"limit.{key}=0.5: no network of space={name} is within the limits")
    smallest = float(text.rpartition("=")[2].removeprefix("about "))
    draw = torch.Generator().manual_seed(0)
    measured = min(case.truth[key](case.context.space.random(draw)) for _ in range(20))
    assert 0.5 < smallest <= measured * 1.01


def test_dropped_operations_come_back_only_if_nothing_else_fits() -> None:
    case = make_case("nas201")
    context, parameters = case.context, case.costs["parameters"]
    names = context.candidates["cell"][0]
    p = {"cell": torch.zeros(6, 5, dtype=torch.float64)}
    p["cell"][:, names.index("nor_conv_3x3")] = 1.0
    empty = context.space.genotype.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    smallest, largest = parameters(empty), parameters(context.space.derive(p, context.candidates))
    case.limited({"parameters": smallest + 4.5 / 6 * (largest - smallest)})
    genotype: Any = context.derive(p)
    assert list(genotype.operations).count("nor_conv_3x3") == 4


def problem(
    seed: int, decisions: int, options: int, costs: int, *, integers: bool = False
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Return random scores and costs, and a limit that about a third of all choices keep."""
    draw = np.random.default_rng(seed)
    scores = [draw.normal(size=options) for _ in range(decisions)]
    tables = [draw.uniform(size=(options, costs)) for _ in range(decisions)]
    if integers:
        tables = [np.floor(4 * table) for table in tables]
    picks = draw.integers(options, size=(500, decisions))
    sums = np.sum([tables[n][picks[:, n]] for n in range(decisions)], axis=0)
    return scores, tables, np.quantile(sums, 0.3, axis=0)


def total(tables: list[np.ndarray], choice: tuple[int, ...]) -> np.ndarray:
    return np.sum([table[option] for table, option in zip(tables, choice, strict=True)], axis=0)


@pytest.mark.parametrize("costs", [1, 3])
@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_the_choice_is_optimal(seed: int, integers: bool, costs: int) -> None:
    scores, tables, limits = problem(seed, 5, 4, costs, integers=integers)
    choices = itertools.product(*(range(len(own)) for own in scores))
    fitting = [choice for choice in choices if (total(tables, choice) <= limits).all()]
    found = best_choice(scores, tables, limits)
    assert (found is None) == (not fitting)
    if found is None:
        return
    assert (total(tables, found) <= limits + 1e-6).all()
    best = max(float(total(scores, choice)) for choice in fitting)
    assert float(total(scores, found)) == pytest.approx(best, abs=1e-9)


def test_excluded_choices_are_followed_by_the_next_best() -> None:
    scores, tables, limits = problem(0, 4, 3, 1)
    choices = itertools.product(range(3), repeat=4)
    fitting = [choice for choice in choices if total(tables, choice) <= limits]
    fitting.sort(key=lambda choice: -float(total(scores, choice)))
    for count in range(len(fitting)):
        assert best_choice(scores, tables, limits, fitting[:count]) == fitting[count]
    assert best_choice(scores, tables, limits, fitting) is None


def test_options_that_almost_never_fit_do_not_hide_small_differences() -> None:
    scores = [np.array([0.0, -1e-3, -1e6]), np.array([-2e-3, 0.0, -1e6])]
    tables = [np.array([[2.0], [1.0], [0.0]]), np.array([[1.0], [2.0], [0.0]])]
    assert best_choice(scores, tables, np.array([3.0])) == (1, 1)
    assert best_choice(scores, tables, np.array([2.0])) == (1, 0)
    assert best_choice(scores, tables, np.array([1.0])) in {(1, 2), (2, 0)}


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
    some = itertools.islice(itertools.product(PRIMITIVES, repeat=6), 0, None, 7)
    fitting = [
        score(own.operations)
        for own in itertools.starmap(Genotype.from_operations, some)
        if own == own.simplified() and is_connected(own) and fits(own)  # each edge has an effect
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
        (("discretize.edges=all",), "discretize.edges=all cannot keep"),
        (("method=drnas",), "the stages of method=drnas drop candidates that other budgets need"),
        (("limit.sizes.foo=1",), "space=nas201 has no size foo"),
        (("method=random_sharing",), "front.cost=macs: method=random_sharing does not learn"),
        (("stopping=curvature",), "stopping=curvature may return the genotype of an earlier"),
        (("collapse.action=stop",), "collapse.action=stop may return the genotype of an earlier"),
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
