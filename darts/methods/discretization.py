"""Base class of discretizations, which derive a genotype from a searched supernet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from darts.registry import Registry
from darts.spaces import AnyGenotype, SearchContext

DISCRETIZATIONS: Registry[Discretization] = Registry("discretize", "darts.methods")

Masks = Mapping[str, Tensor]
"""By group, a mask ``(edges, operations)``."""


class SearchedSupernet(Protocol):
    """The searched supernet, for discretizations that score or train it.

    Attributes:
        context: Search context; its masks select the operations that the supernet computes.
        state: Plain values and tensors from which an interrupted discretization continues.
    """

    context: SearchContext
    state: dict[str, Any]

    def probabilities(self) -> dict[str, Tensor]:
        """Return the probabilities of the operations by group, ``(edges, operations)``."""
        ...

    def score(self, batches: int = 0, only: Masks | None = None) -> float:
        """Return the score of the operations inside the masks; higher is better.

        Args:
            batches: Number of validation batches; 0 for all.
            only: Masks outside of which mixing weights are set to 0. The remaining weights are not
                rescaled.
        """
        ...

    def train(self, epochs: int, lr: float) -> None:
        """Train the weights, at learning rate ``lr``, and alphas of the operations in the masks."""
        ...

    def save(self) -> None:
        """Save a checkpoint with ``state`` and the masks; exit if an interrupt is pending."""
        ...

    def save_if_due(self) -> None:
        """Call ``save`` if a checkpoint is due or an interrupt is pending. Cheap otherwise."""
        ...

    def info(self, text: str) -> None:
        """Print a line on the console."""
        ...


@dataclass
class Discretization:
    """A discretization and its options.

    Attributes:
        reads_alphas: Whether ``final_genotype`` follows from the probabilities.
        drops_edges: Whether genotypes may miss edges that the space's own rule would keep.
        supports_limits: Whether its genotypes are within the limits of the context.
    """

    reads_alphas: ClassVar[bool] = True
    drops_edges: ClassVar[bool] = False
    supports_limits: ClassVar[bool] = True
    name: str = ""

    @property
    def edge_rule(self) -> str:
        """Which edges a node of a genotype has: "two" for the rule of the space."""
        return "two"

    def genotype(self, probabilities: Mapping[str, Tensor], context: SearchContext) -> AnyGenotype:
        """Derive a genotype from probabilities, which are ``(edges, operations)`` by group.

        The search calls this in every epoch, so it must be cheap.
        """
        return context.derive(probabilities)

    def final_genotype(self, trained: SearchedSupernet) -> AnyGenotype:
        """Derive the genotype that the search returns."""
        return self.genotype(trained.probabilities(), trained.context)
