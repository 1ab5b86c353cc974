"""What all rules of discretization have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from darts.registry import Registry
from darts.spaces.context import SearchContext

DISCRETISERS = Registry("discretize", "darts.methods")

Masks = Mapping[str, Tensor]  # by group ``(edges, operations)``


class Trained(Protocol):
    """The searched supernet, as rules see it that do more than read the alphas.

    Attributes:
        context: of the search; its ``kept`` masks decide what the supernet computes.
        state: what to go on with after an interruption; plain values and tensors.
    """

    context: SearchContext
    state: dict[str, Any]

    def expected(self) -> dict[str, Tensor]:
        """By group the probabilities of the operations kept, ``(edges, operations)``."""
        ...

    def score(self, batches: int = 0, only: Masks | None = None) -> float:
        """Of what the masks keep, on so many batches of validation data, all for 0.

        More is better. Weights outside the masks ``only`` count as 0, the others as they are.
        """
        ...

    def train(self, epochs: int, lr: float) -> None:
        """Train weights and alphas of what the masks keep, at a constant learning rate."""
        ...

    def save(self) -> None:
        """Write a checkpoint with ``state`` and the masks, and leave if that was asked for."""
        ...

    def pause(self) -> None:
        """The same, if a checkpoint is due or leaving was asked for; cheap where neither is."""
        ...

    def say(self, text: str) -> None:
        """Tell the user."""
        ...


class Work(NamedTuple):
    """Some of what ``final`` does, for those who plan a search.

    Attributes:
        masks: gives what the supernet keeps meanwhile, or an example of it; groups that are missing
            keep what they have.
        scores: how many times it is scored.
        batches: of validation data for each score, all for 0.
        epochs: of training.
    """

    masks: Callable[[], Masks]
    scores: int = 0
    batches: int = 0
    epochs: int = 0


@dataclass
class Discretization:
    """One rule and its options."""

    name: str = ""

    def genotype(self, probabilities: Mapping[str, Tensor], context: SearchContext) -> Any:
        """What the alphas stand for now: cheap, called after every epoch."""
        return context.space.derive(probabilities, context.candidates)

    def final(self, trained: Trained) -> Any:
        """The genotype of the search."""
        return self.genotype(trained.expected(), trained.context)

    def work(self, context: SearchContext) -> list[Work] | None:
        """What ``final`` will do to a supernet of this context; None where a rule does not say."""
        return [] if type(self).final is Discretization.final else None
