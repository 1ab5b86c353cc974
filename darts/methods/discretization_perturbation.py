"""Perturbation-based selection: keep the operations that the supernet needs most.

References:
    Wang et al., "Rethinking Architecture Selection in Differentiable NAS" (DARTS-PT),
    arXiv:2108.04392, section 4.1 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor

from darts.methods.discretization import DISCRETIZATIONS, Discretization, SearchedSupernet
from darts.registry import number
from darts.spaces import AnyGenotype, SearchContext

# Group, edges, and what competes: the edges (True) or the operations of the edge (False).
Decision = tuple[str, list[int], bool]


@DISCRETIZATIONS.register
@dataclass
class PerturbationSelection(Discretization):
    """Selection of operations by their removal, one edge after another, in random order.

    Each edge keeps the operation whose removal lowers the score most. Then each node with more
    edges than the space allows drops, one by one, the edge whose removal lowers the score least.

    The supernet is trained for some epochs between the decisions. If several groups have the same
    number of edges, like the two cells of DARTS, then one edge of each is decided before the next
    training, as in the authors' code.
    """

    reads_alphas: ClassVar[bool] = False
    supports_limits: ClassVar[bool] = False  # it decides one edge at a time
    name: str = "perturbation"
    tune: int = number(5, low=0)  # epochs of training
    tune_lr: float = number(0.0025, above=0)  # learning rate of the weights in these epochs
    batches: int = number(0, low=0)  # validation batches per score; 0 for all

    def final_genotype(self, trained: SearchedSupernet) -> AnyGenotype:
        context = trained.context
        if "decisions" not in trained.state:
            context.masks.update(context.all_masks())
            trained.state["decisions"] = self._decisions(context)
        decisions: list[Decision] = trained.state["decisions"]
        total, together = len(decisions), _decided_together(context)
        while decisions:
            group, edges, edges_compete = decisions[0]
            select = self._select_edges if edges_compete else self._select_operation
            result = select(trained, group, edges)
            decisions.pop(0)
            trained.info(f"decision {total - len(decisions)}/{total}: keep {result}")
            if self.tune and decisions and len(decisions) % together == 0:
                trained.train(self.tune, self.tune_lr)
            trained.save()
        return self.genotype(trained.probabilities(), context)

    def _decisions(self, context: SearchContext) -> list[Decision]:
        """Return all decisions: the edges in random order, then the nodes in random order.

        Decisions without training in between are adjacent: one decision of each group.
        """
        fan_in = context.space.fan_in
        operations: list[list[Decision]] = []  # by group
        nodes: list[list[Decision]] = []
        for group, targets in context.targets.items():
            operations.append([(group, [edge], False) for edge in range(len(targets))])
            entering = [
                [edge for edge, target in enumerate(targets) if target == node]
                for node in dict.fromkeys(targets)
            ]
            nodes.append(
                [(group, edges, True) for edges in entering if fan_in and len(edges) > fan_in]
            )
        ordered: list[Decision] = []
        for decisions in (operations, nodes):
            if _decided_together(context) > 1:
                ordered += chain.from_iterable(zip(*map(_shuffled, decisions), strict=True))
            else:
                ordered += _shuffled(list(chain.from_iterable(decisions)))
        return ordered

    def _select_operation(self, trained: SearchedSupernet, group: str, edges: list[int]) -> str:
        """Keep one operation of an edge in the mask; return a description of that operation."""
        (edge,) = edges
        context, mask = trained.context, trained.context.masks[group].clone()
        names = context.candidates[group][edge]
        columns = mask[edge].nonzero()[:, 0].tolist()
        if context.space.fan_in is not None:  # a space that drops edges does not need `none`
            columns = [column for column in columns if names[column] != "none"] or columns

        def score_without(column: int) -> float:
            without = mask.clone()
            without[edge, column] = False
            return trained.score(self.batches, {group: without})

        best = min(columns, key=score_without) if len(columns) > 1 else columns[0]
        mask[edge] = False
        mask[edge, best] = True
        context.masks[group] = mask
        return f"{names[best]} on edge {edge} of group {group}"

    def _select_edges(self, trained: SearchedSupernet, group: str, edges: list[int]) -> str:
        """Drop the least important edges, one by one; return a description of the others."""
        remaining, masks = list(edges), trained.context.masks

        def without(edge: int) -> Tensor:
            mask = masks[group].clone()
            mask[edge] = False
            return mask

        while len(remaining) > (trained.context.space.fan_in or 0):
            scores = {e: trained.score(self.batches, {group: without(e)}) for e in remaining}
            least_important = max(remaining, key=scores.__getitem__)
            remaining.remove(least_important)
            masks[group] = without(least_important)
        return f"edges {', '.join(map(str, remaining))} of group {group}"


def _decided_together(context: SearchContext) -> int:
    """Return the number of decisions after which the supernet is trained.

    It is the number of groups if all have equally many edges, and more than one.
    """
    counts = {len(targets) for targets in context.targets.values()}
    return len(context.targets) if len(counts) == 1 and counts != {1} else 1


def _shuffled(decisions: Sequence[Decision]) -> list[Decision]:
    return [decisions[i] for i in torch.randperm(len(decisions)).tolist()]
