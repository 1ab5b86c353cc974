"""Flaws: signs that the result of a search or a retraining is worthless.

Each function that looks for a flaw returns what is wrong and what to try, in one line without a
period, or None. These functions are pure: they read only scores, weights, probabilities and labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from darts.config import SearchConfig
from darts.data_modules import DataModule
from darts.searching.alphas import entropy
from darts.spaces import ByGroup
from darts.tasks import Objective
from darts.tasks.chance import ChanceLevel

# A distribution counts as uniform if its entropy is at least this share of the maximum.
UNIFORM = 0.99


def not_finite(scores: Mapping[str, float], tensors: Mapping[str, Tensor]) -> str | None:
    """Find a loss, weights, alphas or statistics that are infinite or not a number."""
    remedy = "try a smaller optimizer.lr, or precision=fp32"
    loss = scores.get("loss", 0.0)
    if not math.isfinite(loss):
        return f"the validation loss is {loss}; {remedy}"
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        return f"{bad[0]} of the network is not finite; {remedy}"
    return None


def at_chance(
    scores: Mapping[str, float],
    chance: ChanceLevel | None,
    split: str,
    remedy: str = "more epochs, another optimizer.lr or more data",
) -> str | None:
    """Find a score that a network reaches without its input; ``split`` is the scored one."""
    if chance is None or chance.metric not in scores:
        return None
    score = scores[chance.metric]
    if not chance.explains(score):
        return None
    return (
        f"{split}_{chance.metric} {score:.4g} is not better than the chance level "
        f"{chance.limit:.4g} ({chance.guess}); try {remedy}"
    )


def uniform_alphas(probabilities: ByGroup) -> str | None:
    """Find alphas that prefer no operation on most of the edges.

    The probabilities are ``(edges, operations)`` by group; 0 for dropped candidates. Edges with one
    candidate do not count.
    """
    ratios = []
    for p in probabilities.values():
        p = p.detach().double()
        distributions = p / p.sum(-1, keepdim=True)
        ratio = entropy(distributions) / (p > 0).sum(-1).double().log()
        ratios.append(ratio[(p > 0).sum(-1) > 1])  # one candidate leaves no choice
    all_ratios = torch.cat(ratios) if ratios else torch.empty(0)
    undecided, edges = int((all_ratios >= UNIFORM).sum()), len(all_ratios)
    if 2 * undecided <= edges:
        return None
    arbitrary = "arbitrary" if undecided == edges else "mostly arbitrary"
    return (
        f"the alphas are still uniform on {undecided} of {edges} edges (the entropy is within 1 % "
        f"of its maximum), so the genotype is {arbitrary}; try more epochs or a larger "
        "arch_optimizer.lr"
    )


def disjoint_classes(labels: Mapping[str, Tensor]) -> str | None:
    """Find weights and alphas that learned from different classes.

    The labels are the classes of the samples of each subset of a search, ``(n,)`` int64; empty for
    data without classes.
    """
    if not {"weights", "alphas"} <= labels.keys():
        return None
    if bool(torch.isin(labels["weights"], labels["alphas"]).any()):
        return None
    return (
        "the weights and the alphas were trained on different classes; use more samples per class"
    )


@dataclass(frozen=True)
class FlawFinder:
    """Finds the flaws of one run; holds what does not change during the run."""

    chance: ChanceLevel | None  # of the scored data; None if it is unknown
    split: str = "valid"  # split of the scored data, ``valid`` or ``test``
    classes: Mapping[str, Tensor] = field(default_factory=dict)  # see ``disjoint_classes``
    learns_alphas: bool = False  # whether the genotype follows from learned alphas

    @classmethod
    def of_search(cls, config: SearchConfig, data: DataModule, objective: Objective) -> FlawFinder:
        """Return the finder of a search; call this after ``data.search_loaders``."""
        learns = config.relaxation.uses_alphas and config.bilevel.updates_alphas
        return cls(
            chance_level(data, objective, "valid"),
            classes=data.subset_classes(),
            learns_alphas=learns and config.discretize.reads_alphas,
        )

    def find(
        self,
        scores: Mapping[str, float],
        tensors: Mapping[str, Tensor],
        probabilities: ByGroup | None = None,
    ) -> list[str]:
        """Return why a result is worthless, one line each; empty if it is not.

        ``tensors`` are the weights, alphas and statistics of the network by name.
        """
        if broken := not_finite(scores, tensors):
            return [broken]  # the other flaws follow from this one
        found = [
            disjoint_classes(self.classes),
            at_chance(scores, self.chance, self.split),
            uniform_alphas(probabilities or {}) if self.learns_alphas else None,
        ]
        return [flaw for flaw in found if flaw is not None]


def chance_level(data: DataModule, objective: Objective, split: str) -> ChanceLevel | None:
    """Return the chance level of the scored data of a split; None if it is unknown."""
    targets = data.scored_targets(split)
    return None if targets is None else objective.chance_level(targets)
