"""Discretizations, which derive a genotype from a searched supernet.

References:
    DARTS, arXiv:1806.09055, section 2.4; the limit: Chen et al., "Progressive DARTS",
    arXiv:1904.12760, section 3.3.2; pairs: the later code of GDAS, arXiv:1910.04465; all edges: the
    code of SNAS, arXiv:1812.09926; the threshold: Chu et al., "Fair DARTS", arXiv:1911.12126;
    sampling: Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search",
    arXiv:1902.07638, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from darts.registry import Registry, choice, number
from darts.spaces import AnyGenotype, ByGroup, SearchContext

DISCRETIZATIONS: Registry[Discretization] = Registry("discretize", "darts.methods")

# Random architectures that sampling draws for each one that is within hard limits.
TRIES = 100


class SearchedSupernet(Protocol):
    """The searched supernet, for discretizations that score or train it."""

    context: SearchContext  # its masks select the operations that the supernet computes
    state: dict[str, Any]  # plain values and tensors, to continue when interrupted

    def probabilities(self) -> dict[str, Tensor]:
        """Return the probabilities of the operations by group, ``(edges, operations)``."""

    def score(self, batches: int = 0, only: ByGroup | None = None) -> float:
        """Return the score of the operations inside the masks; higher is better.

        It uses a number of validation batches; 0 for all. Outside of the masks ``only``, mixing
        weights are set to 0. The remaining weights are not rescaled.
        """

    def score_path(self, genotype: AnyGenotype, batches: int = 0) -> float:
        """Return the score of one architecture, whose operations have the mixing weight 1.

        Batch norm uses statistics of the architecture. For ``batches``, see ``score``.
        """

    def train(self, epochs: int, lr: float) -> None:
        """Train the weights, at learning rate ``lr``, and alphas of the operations in the masks."""

    def save(self) -> None:
        """Save a checkpoint with ``state`` and the masks; exit if an interrupt is pending."""

    def save_if_due(self) -> None:
        """Call ``save`` if a checkpoint is due or an interrupt is pending. Cheap otherwise."""

    def info(self, text: str) -> None:
        """Print a line on the console."""


@dataclass
class Discretization:
    """A discretization and its options."""

    reads_alphas: ClassVar[bool] = True  # whether ``final_genotype`` follows from the probabilities
    drops_edges: ClassVar[bool] = False  # whether edges may be missing that the space would keep
    # Whether the architectures in ``SearchedSupernet.state`` are within all budgets of a front.
    fills_budgets: ClassVar[bool] = False
    supports_limits: ClassVar[bool] = True  # whether genotypes are within the limits of the context
    name: str = ""

    @property
    def edge_rule(self) -> str:
        """Which edges a node has, the option ``edges``: "two" for the rule of the space."""
        return str(getattr(self, "edges", "two"))

    def genotype(self, probabilities: ByGroup, context: SearchContext) -> AnyGenotype:
        """Derive a genotype from probabilities, which are ``(edges, operations)`` by group.

        The search calls this in every epoch, so it must be cheap.
        """
        return context.derive(probabilities)

    def final_genotype(self, trained: SearchedSupernet) -> AnyGenotype:
        """Derive the genotype that the search returns."""
        return self.genotype(trained.probabilities(), trained.context)


@DISCRETIZATIONS.register
@dataclass
class Argmax(Discretization):
    """The genotype of the most probable operations, with an optional limit on skip connections.

    Attributes:
        skip_limit: Maximum number of skip connections in the first group that has them as
            candidates, for example the normal cell. While there are more, the least probable one is
            removed and the genotype is derived again. Hard limits of costs take precedence: a
            removed one comes back if no other genotype is within them.
        edges: "two": the edges that the space keeps; in ``cnn``, the two strongest into each node.
            "pairs": the two strongest operations into each node, which may be on one edge. "all":
            all edges; those whose strongest operation is ``none`` do not exist.
    """

    name: str = "argmax"
    skip_limit: int | None = number(None, low=0)
    edges: str = choice("two", "two", "pairs", "all")

    def __post_init__(self) -> None:
        if self.skip_limit is not None and self.edges != "two":
            raise ValueError(
                f"discretize.skip_limit={self.skip_limit} needs discretize.edges=two, not "
                f"{self.edges}"
            )

    def genotype(self, probabilities: ByGroup, context: SearchContext) -> AnyGenotype:
        if self.edges != "two":
            return context.space.derive_by(self.edges, probabilities, context.candidates)
        genotype = super().genotype(probabilities, context)
        if self.skip_limit is None:
            return genotype
        skip = context.space.skip_operation
        is_skip = {
            group: torch.tensor([[name == skip for name in row] for row in names])
            for group, names in context.candidates.items()
        }
        limited = next((group for group, skips in is_skip.items() if bool(skips.any())), None)
        if limited is None:
            return genotype
        remaining = {group: p.detach().cpu().clone() for group, p in probabilities.items()}
        while True:
            used = context.derived_mask(remaining)[limited].cpu() & is_skip[limited]
            removable = used & (remaining[limited] > 0)  # others are the only ones of their edges
            if int(used.sum()) <= self.skip_limit or not bool(removable.any()):
                return genotype
            strength = remaining[limited].masked_fill(~removable, float("inf"))
            remaining[limited].view(-1)[strength.argmin()] = 0.0
            genotype = super().genotype(remaining, context)


@DISCRETIZATIONS.register
@dataclass
class Threshold(Discretization):
    """The genotype of the most probable operations without edges below a threshold.

    The two edges of each node are chosen first, as in the authors' code: no third edge replaces one
    that is dropped. If no edge of a cell would remain, the cell keeps the most probable one that
    reads an input of the cell. The threshold suits ``relaxation=sigmoid``, where the operations of
    an edge do not compete.
    """

    drops_edges: ClassVar[bool] = True
    name: str = "threshold"
    threshold: float = number(0.85, low=0, high=1)

    def genotype(self, probabilities: ByGroup, context: SearchContext) -> AnyGenotype:
        genotype = super().genotype(probabilities, context)
        smaller = context.space.without_improbable_edges(
            genotype, probabilities, context.candidates, self.threshold
        )
        # A fitted latency model may predict that a network with fewer edges is slower.
        fits = context.limit is None or context.limit.allows(smaller)
        return smaller if fits else genotype


@DISCRETIZATIONS.register
@dataclass
class Sampling(Discretization):
    """The best of many random architectures: all are scored on a few batches, the best on all."""

    reads_alphas: ClassVar[bool] = False
    name: str = "sampling"
    samples: int = number(1000, low=1)
    batches: int = number(1, low=1)  # validation batches of the first score
    finalists: int = number(10, low=1)  # scored on all validation data

    def final_genotype(self, trained: SearchedSupernet) -> AnyGenotype:
        space, state = trained.context.space, trained.state
        if "genotypes" not in state:
            samples = _draw(trained.context, self.samples)
            texts = dict.fromkeys(genotype.to_json() for genotype in samples)
            # The scores so far: on a few batches, and of the finalists on all data.
            state.update(genotypes=list(texts), first=[], final=[])
        genotypes = [space.genotype.parse(text) for text in state["genotypes"]]
        first_scores: list[float] = state["first"]
        final_scores: list[float] = state["final"]
        done = f" ({len(first_scores)} scored before the interrupt)" if first_scores else ""
        trained.info(f"scoring {len(genotypes)} random architectures with shared weights{done}")
        _score_missing(trained, genotypes, self.batches, first_scores)
        order = sorted(range(len(genotypes)), key=lambda i: -first_scores[i])[: self.finalists]
        _score_missing(trained, [genotypes[i] for i in order], 0, final_scores)
        trained.save()
        return genotypes[order[max(range(len(order)), key=final_scores.__getitem__)]]


def _draw(context: SearchContext, samples: int) -> list[AnyGenotype]:
    """Draw genotypes within the limits; fewer than ``samples`` if these are rare.

    If none is within the limits, the result is the best one by uniform probabilities.
    """
    space, limit = context.space, context.limit
    if limit is None:
        return [space.random(torch.default_generator) for _ in range(samples)]
    drawn = (space.random(torch.default_generator) for _ in range(TRIES * samples))
    fitting = list(islice((genotype for genotype in drawn if limit.allows(genotype)), samples))
    return fitting or [context.derive(context.uniform())]


def _score_missing(
    trained: SearchedSupernet, genotypes: Sequence[AnyGenotype], batches: int, scores: list[float]
) -> None:
    """Append the scores of the genotypes that have none yet."""
    context = trained.context
    for genotype in genotypes[len(scores) :]:
        with context.changed(masks=context.space.mask(genotype, context.candidates)):
            scores.append(trained.score(batches))
        trained.save_if_due()
