"""Keep the operations without which the supernet does worst.

References:
    Wang et al., "Rethinking Architecture Selection in Differentiable NAS" (DARTS-PT),
    arXiv:2108.04392, section 4.1 and algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darts.methods.discretization import DISCRETISERS, Discretization, Trained, Work
from darts.registry import number
from darts.spaces.context import SearchContext


@DISCRETISERS.register
@dataclass
class Perturbation(Discretization):
    """Edge by edge, in random order, an operation is worth what the score loses without it.

    Then, where a node keeps fewer edges than it has, the edges are chosen in the same way. After
    each decision the supernet is tuned.

    Attributes:
        tune: epochs of training after a decision.
        tune_lr: learning rate of the weights in them.
        batches: of validation data for each score; 0: all.
    """

    name: str = "perturbation"
    tune: int = number(5, low=0)
    tune_lr: float = number(0.0025, above=0)
    batches: int = number(0, low=0)

    def final(self, trained: Trained) -> Any:
        context = trained.context
        if "questions" not in trained.state:
            context.kept.update(_whole(context))
            trained.state["questions"] = self._questions(context)
        questions: list[list[Any]] = trained.state["questions"]
        total = len(questions)
        while questions:
            group, edges, about_edges = questions[0]
            if about_edges:
                said = self._decide_edges(trained, group, edges)
            else:
                said = self._decide_operation(trained, group, edges[0])
            questions.pop(0)
            trained.say(f"{total - len(questions)}/{total} decided: {said}")
            if self.tune and questions:
                trained.train(self.tune, self.tune_lr)
            trained.save()
        return self.genotype(trained.expected(), context)

    def work(self, context: SearchContext) -> list[Work]:
        """While edges are decided, the supernet shrinks from all that it keeps to one operation on
        each of them: half of the work is told of either end.
        """
        whole, fan_in = _whole(context), context.space.fan_in or 0
        competing = {
            (group, edge): _competing(context, mask, group, edge)
            for group, mask in whole.items()
            for edge in range(len(mask))
        }

        def single() -> dict[str, Tensor]:
            masks = {group: torch.zeros_like(mask) for group, mask in whole.items()}
            for (group, edge), columns in competing.items():
                masks[group][edge, columns[int(torch.randint(len(columns), ()))]] = True
            return masks

        choices = [len(columns) for columns in competing.values()]
        nodes = [len(edges) for _, edges, about_edges in self._questions(context) if about_edges]
        scores = sum(count for count in choices if count > 1)
        more = sum(sum(range(fan_in + 1, count + 1)) for count in nodes)
        epochs = self.tune * (len(choices) + len(nodes) - 1)  # none after the last decision
        first, early = scores // 2, self.tune * len(choices) // 2
        return [
            Work(lambda: whole, scores=first, batches=self.batches, epochs=early),
            Work(single, scores=scores - first + more, batches=self.batches, epochs=epochs - early),
        ]

    def _questions(self, context: SearchContext) -> list[list[Any]]:
        """Edges in random order, then nodes: ``[group, edges, whether these compete]``."""
        fan_in = context.space.fan_in
        operations: list[list[Any]] = []
        nodes: list[list[Any]] = []
        for group, targets in context.targets.items():
            operations += [[group, [edge], False] for edge in range(len(targets))]
            for node in dict.fromkeys(targets):
                entering = [edge for edge, target in enumerate(targets) if target == node]
                if fan_in is not None and len(entering) > fan_in:
                    nodes.append([group, entering, True])
        return [part[i] for part in (operations, nodes) for i in torch.randperm(len(part)).tolist()]

    def _decide_operation(self, trained: Trained, group: str, edge: int) -> str:
        """Leave one operation on an edge."""
        kept = trained.context.kept[group]
        columns = _competing(trained.context, kept, group, edge)
        names = trained.context.candidates[group][edge]
        scores = {}
        for column in columns if len(columns) > 1 else ():
            without = kept.clone()
            without[edge, column] = False
            scores[column] = trained.score(self.batches, {group: without})
        best = min(scores, key=lambda column: scores[column]) if scores else columns[0]
        mask = kept.clone()
        mask[edge] = False
        mask[edge, best] = True
        trained.context.kept[group] = mask
        return f"{names[best]} on edge {edge} of the {group} cell"

    def _decide_edges(self, trained: Trained, group: str, edges: list[int]) -> str:
        """Take out the edges without which the supernet does best, one by one."""
        left = list(edges)
        while len(left) > trained.context.space.fan_in:
            kept = trained.context.kept[group]
            scores = {}
            for edge in left:
                without = kept.clone()
                without[edge] = False
                scores[edge] = trained.score(self.batches, {group: without})
            worst = max(left, key=lambda edge: scores[edge])
            left.remove(worst)
            mask = kept.clone()
            mask[worst] = False
            trained.context.kept[group] = mask
        return f"edges {', '.join(map(str, left))} of the {group} cell"


def _whole(context: SearchContext) -> dict[str, Tensor]:
    """By group a mask ``(edges, operations)`` of all that is kept."""
    return {
        group: context.kept.get(group, torch.ones(len(names), len(names[0]), dtype=torch.bool))
        for group, names in context.candidates.items()
    }


def _competing(context: SearchContext, kept: Tensor, group: str, edge: int) -> list[int]:
    """The columns of the operations of which an edge keeps one."""
    columns: list[int] = kept[edge].nonzero()[:, 0].tolist()
    if context.space.fan_in is None:
        return columns
    names = context.candidates[group][edge]  # a cell that drops edges has no need of none
    return [column for column in columns if names[column] != "none"] or columns
