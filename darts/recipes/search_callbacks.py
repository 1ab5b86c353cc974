"""Parts of a search that its configuration turns on and off.

The collapse checks of ``darts.recipes.inspection`` are on by default. So is ``AlphaRate``, except
on the data sets of the papers, whose files in ``conf/defaults`` set ``arch_optimizer.raises=0``.
Limits, penalties and a benchmark table are in ``darts.recipes.cost_callbacks``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from darts.methods.stages import schedule_of
from darts.reading import JsonObject
from darts.spaces import AnyGenotype
from darts.training.loop import EpochReport
from darts.training.steps import set_learning_rate

if TYPE_CHECKING:
    from darts.recipes.search import Search

# Prefix of the costs of the genotype's network; costs without it belong to the supernet.
NETWORK = "network_"


class SearchCallback:
    """A part of a search; its methods are called at certain points, and do nothing by default.

    Its constructor is called before the run begins or continues. An object that a checkpoint
    must save is added to ``search.state.parts`` there.
    """

    def __init__(self, search: Search) -> None:
        self.search = search

    def start(self) -> None:
        """Start after the run has begun and its console has opened."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare an epoch, counted from 0."""

    def after_steps(self) -> None:
        """Do what must come before the supernet is scored at the end of an epoch."""

    def end_epoch(self, epoch: int, report: EpochReport) -> None:
        """Inspect the search after it was scored; may add values to log, and end the search."""

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return values of a genotype for logs and summary."""
        return {}

    def end_search(self, genotype: AnyGenotype) -> None:
        """Inspect the genotype of the search."""

    def summary(self, flaws: Sequence[str]) -> JsonObject:
        """Return entries of the summary, given why the result is worthless; write files."""
        return {}

    def print_results(self) -> None:
        """Print what belongs below the summary."""

    def uncounted(self) -> list[str]:
        """Return what the estimate of a dry run omits."""
        return []


# Factor of the learning rate of the alphas at each raise.
RAISE_FACTOR = 3.0

# An edge prefers an operation that is more probable than any other by at least this share.
#
# Suppose that the preference of an edge is weaker after a tenth of the updates, and that its alphas
# go on changing at the same speed. Then the entropy of the edge is still within 1 % of its maximum
# at the end. With its default settings, a search of the space `cnn` on the digits reaches more than
# twice this value after a tenth of the updates.
MIN_PREFERENCE = 0.05

# Number of equal parts of the epochs that update the alphas; each part ends with a check.
RATE_CHECKS = 10


class AlphaRate(SearchCallback):
    """Sets the learning rate of the alphas in each epoch; raises it while they learn too little.

    The alphas start as random numbers near 0, so the operation that is most probable at first, and
    small changes of the order of operations, mean nothing. The criterion is therefore the strength
    of the preferences, not their order. If no edge has a clear preference after a tenth of the
    updates, all edges are likely to be close to uniform at the end, and the genotype would be
    arbitrary (see ``darts.searching.flaws.uniform_alphas``).

    All decisions depend on values that are equal on all ranks.
    """

    @property
    def lr(self) -> float:
        """The learning rate after all raises so far."""
        return float(self.search.config.arch_optimizer.lr * RAISE_FACTOR**self.search.state.raises)

    def begin_epoch(self, epoch: int) -> None:
        set_learning_rate(self.search.searcher.arch_optimizer, self.lr)

    def end_epoch(self, epoch: int, report: EpochReport) -> None:
        """Raise the rate if a check is due and no edge has a preference."""
        search, searcher, epochs = self.search, self.search.searcher, self.search.config.epochs
        allowed, before = search.config.arch_optimizer.raises, self.lr
        if search.finished or search.state.raises >= allowed:
            return
        updated = [other for other in range(epochs) if searcher.updates_alphas_in(other)]
        if not is_check_due(epoch, updated, *schedule_of(epoch, epochs, searcher.stages)):
            return
        if not strongest_preference(searcher.probabilities()) < MIN_PREFERENCE:
            return
        search.state.raises += 1
        count = sum(other <= epoch for other in updated)
        report.warnings.append(
            f"after {count} epochs that update the alphas, no edge prefers an operation: none is "
            f"{MIN_PREFERENCE:.0%} more probable than the second best; arch_optimizer.lr is raised "
            f"from {before:.3g} to {self.lr:.3g} (raise {search.state.raises} of {allowed})"
        )


def strongest_preference(probabilities: Mapping[str, Tensor]) -> float:
    """Return the strength of the clearest preference of any edge.

    The strength of an edge is ``best / second - 1``, where the two are its highest probabilities.
    It is at least 0, and infinite if no edge has two candidates to choose from.
    ``probabilities`` are ``(edges, operations)`` by group, 0 for dropped candidates.
    """
    strengths = [math.inf]
    for p in probabilities.values():
        if p.shape[-1] < 2:
            continue
        best, second = p.detach().double().topk(2, dim=-1).values.unbind(-1)  # (edges,) each
        choice = second > 0
        strengths += (best[choice] / second[choice] - 1).tolist()
    return max(strengths[1:], default=math.inf)


def is_check_due(epoch: int, updated: Sequence[int], first: int, length: int) -> bool:
    """Return whether the preferences are checked at the end of an epoch.

    They are checked after each tenth (rounded up) of those epochs of a schedule that update the
    alphas, but not after the last such epoch, because no later epoch would use a higher rate.
    ``updated`` are all such epochs of the search in order. The schedule has ``length`` epochs from
    ``first``, in which the alphas are new.
    """
    own = [other for other in updated if first <= other < first + length]
    if epoch not in own[:-1]:
        return False
    return (own.index(epoch) + 1) % math.ceil(len(own) / RATE_CHECKS) == 0
