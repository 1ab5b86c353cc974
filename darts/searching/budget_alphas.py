"""Alphas that depend on a budget, so that one search answers for all budgets of a cost.

A budget is a number between 0 (the smallest) and 1 (the largest). Some budgets, the anchors, have
alphas of their own; the alphas of the budgets between two anchors are interpolated. Every step
draws a budget, so that weights and alphas learn for all of them.

References:
    Sukthanker et al., "Multi-objective Differentiable Neural Architecture Search",
    arXiv:2402.18213, section 3.1: alphas as a function of preferences, which are drawn in every
    step. There, a preference weighs loss and cost; here, it is the cost to aim at.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darts.searching.expected_cost import ExpectedCost
from darts.spaces import ByGroup, SearchContext, SupernetBase

# The largest budget, whose alphas are those that the supernet has without budgets.
LARGEST = 1.0


def offset_group(group: str) -> str:
    """Return the name of the parameter that holds the offsets of the alphas of ``group``."""
    return f"{group}_offsets"


def add_anchors(net: SupernetBase, anchors: int) -> None:
    """Give a supernet alphas for several budgets, evenly spaced from 0 to 1 and equal at first.

    The alphas of the largest budget stay in ``net.alphas[group]``. The offsets of the others are
    ``(anchors - 1, *alphas)``, the smallest budget first.
    """
    for group, alpha in list(net.alphas.items()):
        offsets = torch.zeros(anchors - 1, *alpha.shape)
        net.alphas[offset_group(group)] = nn.Parameter(offsets)


def alphas_at(net: SupernetBase, budget: float) -> dict[str, Tensor]:
    """Return the alphas of a supernet for a budget in [0, 1], by group ``(edges, operations)``.

    Without anchors, they are the same for all budgets.
    """
    alphas: dict[str, Tensor] = dict(net.alphas.items())
    for group in list(alphas):
        offsets = alphas.pop(offset_group(group), None)
        if offsets is not None:
            alphas[group] = alphas[group] + _interpolated(offsets, budget)
    return alphas


def _interpolated(offsets: Tensor, budget: float) -> Tensor:
    """Return the offsets of a budget; they are 0 for the largest one."""
    position = budget * len(offsets)
    index = min(int(position), len(offsets) - 1)
    share = position - index
    result = (1 - share) * offsets[index]
    return result + share * offsets[index + 1] if index + 1 < len(offsets) else result


class BudgetPenalty:
    """Term of the loss of the alphas that draws the expected cost to the budget.

    It is ``weight * |cost / budget - 1|`` for the budget of the current step. It also raises costs
    below the budget: otherwise, the alphas of all budgets tend to operations without weights, which
    learn fastest, and the results are equal. Budgets are between ``least`` and ``most``, in the
    unit of the cost.
    """

    def __init__(
        self, cost: ExpectedCost, least: float, most: float, weight: float, context: SearchContext
    ) -> None:
        self.cost, self.least, self.most, self.weight = cost, least, most, weight
        self._context = context

    def __call__(self, probabilities: ByGroup) -> Tensor:
        """Return the penalty, a scalar that is differentiable in the probabilities."""
        budget = self.least + self._context.budget * (self.most - self.least)
        return self.weight * (self.cost(probabilities) / budget - 1).abs()
