"""The checkpoint of a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from torch import Tensor

from darts.data import Loader
from darts.searching.diagnosis import Diagnosis
from darts.searching.expected_cost import Penalty
from darts.searching.searcher import Searcher
from darts.training.checkpoint import StateDict
from darts.training.state import TrainState
from darts.typed_values import Count


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
    # So far, of the learning rate of the alphas.
    raises: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    discretization: StateDict = field(default_factory=dict)  # progress of the discretization
    # Epoch, from 0, whose genotype is the result; None unless the stopping rule or a collapse check
    # has ended the search.
    stopped_epoch: Count | None = None
