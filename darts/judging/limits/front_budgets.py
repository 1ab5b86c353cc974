"""The budgets of a search for a front: their range, and the best genotype of each of them."""

from __future__ import annotations

import dataclasses
import math
from contextlib import suppress

import numpy as np
import torch

from darts.config import ConfigError, FrontConfig, SearchConfig
from darts.data_modules import DataModule
from darts.judging.devices.cell_features import is_connected
from darts.judging.limits.costs import CostMeter, find_model
from darts.judging.limits.decisions import GenotypeDecisions, expected_cost
from darts.judging.limits.genotype_limits import Cost, GenotypeLimits
from darts.judging.limits.of_search import check_bounds, genotype_costs, search_costs
from darts.searching.budget_alphas import BudgetPenalty
from darts.spaces import AnyGenotype, SearchContext

# Relative difference by which a genotype must exceed the smaller budget.
STRICT = 1e-9

# Random genotypes whose costs set the range of the budgets, with the extremes of the space.
SAMPLES = 500

# Name of the bounded cost among the costs of the limits.
BUDGET = "budget"

# Name of a constant minus the bounded cost: its upper limit is a lower limit of that cost.
UNUSED = "unused"


def check_front(config: SearchConfig) -> None:
    """Raise ConfigError if a front does not fit the other settings; no data is read."""
    front, discretize, stopping = config.front, config.discretize, config.stopping
    if not front.enabled:
        for field in dataclasses.fields(FrontConfig):
            value = getattr(front, field.name)
            if value != field.default:
                raise ConfigError(
                    f"front.{field.name}={value}: has no effect unless front.cost is set"
                )
        return
    fills = discretize.fills_budgets
    learns = fills or (config.bilevel.updates_alphas and config.relaxation.uses_alphas)
    stops, action = stopping.name != "never", config.collapse.action
    ends_early = f"stopping={stopping.name}" if stops else f"collapse.action={action}"
    problems = {
        f"method={config.method} does not learn alphas; choose another": not learns,
        f"discretize={discretize.name} cannot keep a budget; choose discretize=argmax": (
            not discretize.reads_alphas and not fills
        ),
        f"the stages of method={config.method} drop candidates that other budgets need; set "
        "stages=[]": any(stage.keep < 1 for stage in config.stages),
        f"{ends_early} may return the genotype of an earlier epoch, but the front belongs to the "
        f"last one; set {'stopping=never' if stops else 'collapse.action=warn'}": (
            stops or action != "warn"
        ),
    }
    unused = {"anchors", "weight"} if fills else set()
    for field in dataclasses.fields(FrontConfig):
        if field.name in unused and getattr(front, field.name) != field.default:
            problems[f"front.{field.name} has no effect with discretize={discretize.name}"] = True
    for problem, exists in problems.items():
        if exists:
            raise ConfigError(f"front.cost={front.cost}: {problem}")
    if front.device is not None and front.cost != "latency_ms":
        raise ConfigError(
            f"front.device={front.device}: has no effect unless front.cost=latency_ms"
        )
    check_bounds(f"front.cost={front.cost}", config, "front.device", _front_meter(front))
    if front.least is not None and front.most is not None and front.least >= front.most:
        raise ConfigError(f"front.least={front.least:g}: must be below front.most={front.most:g}")


def _front_meter(front: FrontConfig) -> CostMeter:
    model = None if front.device is None else find_model(front.device, "front.device")
    return CostMeter({front.cost: math.inf}, model=model)


class Budgets:
    """The budgets of a search, from ``least`` to ``most``, in the unit of the cost."""

    def __init__(self, config: SearchConfig, context: SearchContext, data: DataModule) -> None:
        front = self._config = config.front
        self._context, self._uniform = context, context.uniform()
        self._decisions = GenotypeDecisions.of(context)
        self._limits, self._costs = search_costs(config, context, data)
        meter = _front_meter(front)
        self.cost = genotype_costs(meter, "front.device", config, context, data)[front.cost]
        draw = torch.Generator().manual_seed(0)
        random = (context.space.random(draw).simplified() for _ in range(SAMPLES))
        sampled = [self.cost(genotype) for genotype in random if is_connected(genotype)]
        with suppress(ValueError):  # the space has no smallest and largest network
            sampled += map(self.cost, context.space.extremes())
        self.least = min(sampled) if front.least is None else front.least
        self.most = max(sampled) if front.most is None else front.most
        if not 0 < self.least < self.most:
            raise ConfigError(
                f"front.cost={front.cost}: the smallest budget is {self.least:g} and the largest "
                f"{self.most:g}; set front.least and front.most"
            )

    def penalty(self) -> BudgetPenalty:
        """Return the term of the loss of the alphas that keeps the expected cost in the budget."""
        cost = expected_cost(self._context, self.cost)
        return BudgetPenalty(cost, self.least, self.most, self._config.weight, self._context)

    def shares(self) -> list[float]:
        """Return the budgets of the front as positions in their range, from 0 to 1."""
        return [float(share) for share in np.linspace(0, 1, self._config.points)]

    def at(self, share: float) -> float:
        """Return the budget at a position, in the unit of the cost."""
        return self.least + share * (self.most - self.least)

    def limit_at(self, share: float, above: float | None = None) -> GenotypeLimits | None:
        """Return a budget as a hard limit, together with the limits of the search.

        Cells with operations without effect, or without a path from input to output, are not
        chosen.

        Genotypes must exceed the smaller budget at ``above``, unless none was found that does. The
        result is None if none was found within the limits.
        """
        whole = 2 * self.most
        costs: dict[str, Cost] = {**self._costs, BUDGET: self.cost}
        costs[UNUSED] = lambda genotype: whole - self.cost(genotype)
        tried = [{**self._limits, BUDGET: self.at(share)}]
        if above is not None:
            left = whole - self.at(above)
            tried.insert(0, {**tried[0], UNUSED: left * (1 - STRICT)})
        for limits in tried:
            with suppress(ConfigError):
                return GenotypeLimits(self._decisions, costs, limits, self._uniform, is_useful)
        return None


def is_useful(genotype: AnyGenotype) -> bool:
    """Return whether all operations have an effect, and a path leads from input to output."""
    return is_connected(genotype) and genotype.simplified() == genotype
