"""The checkpoint of a search: its fields, and what a restored state must satisfy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from torch import Tensor

from darts.data import Loader
from darts.searching.diagnosis import Diagnosis
from darts.searching.expected_cost import Penalty
from darts.searching.searcher import Searcher
from darts.training.checkpoint import StateDict
from darts.training.restoring import require_finite_weights, require_same_layout
from darts.training.state import TrainState
from darts.typed_values import Count, Misfit, Within


@dataclass(kw_only=True)
class SearchState(TrainState):
    """Checkpoint of a search."""

    valid_loader: Loader  # batches for architecture steps
    searcher: Searcher  # supernet, optimizers and masks
    penalty: Penalty  # measured costs of the candidates
    diagnosis: Diagnosis  # earlier collapse checks
    history: list[dict[str, Tensor]] = field(default_factory=list)  # probabilities, each epoch
    genotypes: list[str] = field(default_factory=list)  # JSON, each epoch
    # Dominant eigenvalue at the end of each epoch in which the stopping rule needs it.
    eigenvalues: list[float] = field(default_factory=list)
    raises: Annotated[int, Within(0, 10)] = 0  # so far, of the learning rate of the alphas
    discretization: StateDict = field(default_factory=dict)  # progress of the discretization
    # Epoch, from 0, whose genotype is the result; None unless the stopping rule or a collapse check
    # has ended the search.
    stopped_epoch: Count | None = None

    def check(self) -> None:
        """Refuse restored values that contradict each other or do not fit the supernet.

        Raises:
            Misfit: For the first such value.
            ValueError: If a genotype does not fit the space.
        """
        super().check()
        for name in ("history", "genotypes"):
            if len(getattr(self, name)) != self.epoch:
                raise Misfit(
                    f"{name} has {len(getattr(self, name))} entries for {self.epoch} epochs"
                )
        if len(self.eigenvalues) > self.epoch:
            raise Misfit(f"eigenvalues has {len(self.eigenvalues)} entries for {self.epoch} epochs")
        epochs = [check.epoch for check in self.diagnosis.checks]
        if epochs != sorted(set(epochs)) or not all(1 <= epoch <= self.epoch for epoch in epochs):
            raise Misfit(f"the epochs of diagnosis do not ascend within 1 to {self.epoch}")
        if self.stopped_epoch is not None and self.stopped_epoch >= self.epoch:
            raise Misfit(f"stopped_epoch is {self.stopped_epoch}; it must be below {self.epoch}")
        current = self.searcher.probabilities()
        for number, probabilities in enumerate(self.history):
            require_same_layout(probabilities, current, f"history[{number}]")
            require_finite_weights(probabilities, f"history[{number}]")
        for text in self.genotypes:
            self.searcher.context.space.parse(text)
