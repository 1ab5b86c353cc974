"""Keep the operations without which the supernet does worst.

References:
    Wang et al., "Rethinking Architecture Selection in Differentiable NAS" (DARTS-PT),
    arXiv:2108.04392, section 4.1 and algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from darts.discretize.discretiser import DISCRETISERS, Discretiser, Trained
from darts.parts import number


@DISCRETISERS.register
@dataclass
class Perturbation(Discretiser):
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
        setting = trained.setting
        if "questions" not in trained.state:
            for group, names in setting.candidates.items():
                whole = torch.ones(len(names), len(names[0]), dtype=torch.bool)
                setting.kept.setdefault(group, whole)
            trained.state["questions"] = self._questions(trained)
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
        return self.genotype(trained.expected(), setting)

    def _questions(self, trained: Trained) -> list[list[Any]]:
        """Edges in random order, then nodes: ``[group, edges, whether these compete]``."""
        setting, fan_in = trained.setting, trained.setting.space.fan_in
        operations: list[list[Any]] = []
        nodes: list[list[Any]] = []
        for group, targets in setting.targets.items():
            operations += [[group, [edge], False] for edge in range(len(targets))]
            for node in dict.fromkeys(targets):
                entering = [edge for edge, target in enumerate(targets) if target == node]
                if fan_in is not None and len(entering) > fan_in:
                    nodes.append([group, entering, True])
        return [part[i] for part in (operations, nodes) for i in torch.randperm(len(part)).tolist()]

    def _decide_operation(self, trained: Trained, group: str, edge: int) -> str:
        """Leave one operation on an edge."""
        kept = trained.setting.kept[group]
        columns = kept[edge].nonzero()[:, 0].tolist()
        names = trained.setting.candidates[group][edge]
        if trained.setting.space.fan_in is not None:  # a cell that drops edges has no need of none
            columns = [column for column in columns if names[column] != "none"] or columns
        scores = {}
        for column in columns if len(columns) > 1 else ():
            without = kept.clone()
            without[edge, column] = False
            scores[column] = trained.score(self.batches, {group: without})
        best = min(scores, key=lambda column: scores[column]) if scores else columns[0]
        mask = kept.clone()
        mask[edge] = False
        mask[edge, best] = True
        trained.setting.kept[group] = mask
        return f"{names[best]} on edge {edge} of the {group} cell"

    def _decide_edges(self, trained: Trained, group: str, edges: list[int]) -> str:
        """Take out the edges without which the supernet does best, one by one."""
        left = list(edges)
        while len(left) > trained.setting.space.fan_in:
            kept = trained.setting.kept[group]
            scores = {}
            for edge in left:
                without = kept.clone()
                without[edge] = False
                scores[edge] = trained.score(self.batches, {group: without})
            worst = max(left, key=lambda edge: scores[edge])
            left.remove(worst)
            mask = kept.clone()
            mask[worst] = False
            trained.setting.kept[group] = mask
        return f"edges {', '.join(map(str, left))} of the {group} cell"
