"""What a search does only if it is configured: limits, penalties, collapse checks and more."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from darts.config import ConfigError
from darts.data import Batch
from darts.judging.benchmark import Benchmark
from darts.judging.devices.lookup_table import info_file
from darts.judging.limits.costs import describe_limits, find_model_file
from darts.judging.limits.of_search import predicted_costs, search_limits
from darts.methods.stages import schedule_of
from darts.reading import JsonObject
from darts.recipes.checks import search_obstacle
from darts.searching.expected_cost import Penalty
from darts.spaces import AnyGenotype
from darts.training.graphs import graphed_step
from darts.training.loop import EpochReport, StepReport
from darts.training.steps import set_learning_rate
from darts.typed_values import Misfit, typed

if TYPE_CHECKING:
    from darts.recipes.search import Search

NETWORK = "network_"
"""Prefix of the costs of the genotype's network; costs without it belong to the supernet."""


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


class LatencyModels(SearchCallback):
    """Raises an error if the file of a latency model has changed when a search is resumed.

    The files belong to the user and may be replaced in between. The genotypes of both parts of the
    search would then keep different limits. A checkpoint contains what penalties need.
    """

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        config = search.config
        devices = {"limit.device": config.limit.device, "front.device": config.front.device}
        self._devices = {key: device for key, device in devices.items() if device is not None}
        self._digests = {key: _digest(device) for key, device in self._devices.items()}
        search.state.parts["latency_models"] = self

    def state_dict(self) -> dict[str, str]:
        return self._digests

    def load_state_dict(self, state: object) -> None:
        saved = typed(dict[str, str], state, "latency_models")
        for key, digest in self._digests.items():
            if saved.get(key) != digest:
                raise Misfit(
                    f"the file of {key}={self._devices[key]} has changed since the run began; "
                    "restore it, or start a new run"
                )


def _digest(device: str) -> str:
    """Return a hash of the files of a latency model."""
    file = find_model_file(device)
    content = file.read_bytes()
    if file.suffix == ".csv":
        content += info_file(file).read_bytes()
    return hashlib.sha256(content).hexdigest()


class Table(SearchCallback):
    """Looks up the true accuracy and rank of genotypes in a benchmark table."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._benchmark = Benchmark.from_config(search.config.benchmark, search.config.space)

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return {} if self._benchmark is None else self._benchmark.scores(genotype)


class Limits(SearchCallback):
    """Keeps the costs of genotypes within hard limits."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._limit = search_limits(search.config, search.context, search.data)
        search.context.limit = self._limit

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return {f"{NETWORK}{name}": cost for name, cost in self._limit.costs(genotype).items()}

    def end_search(self, genotype: AnyGenotype) -> None:
        if not self._limit.allows(genotype):
            raise ConfigError(
                f"the discretization returned a genotype beyond "
                f"{describe_limits(self._limit.limits)}; choose discretize=argmax"
            )


class Penalties(SearchCallback):
    """Adds expected costs above their targets to the loss of the alphas."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        config, context, data = search.config, search.context, search.data
        known = predicted_costs(config, context, data)
        self._penalty = Penalty.measured(config.penalty, context, data, known)
        search.searcher.alpha_costs.append(self._penalty)
        search.state.parts["penalty"] = self._penalty

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return self._penalty.expected(self.search.searcher.probabilities())


class Graphs(SearchCallback):
    """Runs the steps as CUDA graphs if nothing prevents it."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._step = graphed_step(
            search.update,
            search.config,
            search.ranks,
            obstacle=search_obstacle(search.config, search.ranks),
            repeats_draws=search.config.bilevel.repeats_draws,
        )
        search.update = self._step

    def start(self) -> None:
        self._step.connect(self.search.loop.console.info)

    def begin_epoch(self, epoch: int) -> None:
        self._step.discard()

    def after_steps(self) -> None:
        self._step.discard()  # frees the memory of the graph


class GradientReports(SearchCallback):
    """Logs the diagnostics of the hypergradient before the steps for which they are due."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._step, search.update = search.update, self._report_and_step

    def _report_and_step(self, batch: Batch, valid_batch: Batch) -> StepReport:
        search, searcher = self.search, self.search.searcher
        if search.updates_alphas and searcher.bilevel.reports_at(search.step):
            values = searcher.gradient_report(batch, valid_batch)
            if not search.config.dry_run:
                # A row of its own, so that a run that resumes at an earlier step discards it.
                scalars = {f"bilevel/{name}": value for name, value in values.items()}
                search.run.log(search.step + 1, values, scalars)
        return self._step(batch, valid_batch)


RAISE_FACTOR = 3.0
"""Factor of the learning rate of the alphas at each raise."""

MIN_PREFERENCE = 0.05
"""An edge prefers an operation that is more probable than any other by at least this share.

Suppose that the preference of an edge is weaker after a tenth of the updates, and that its alphas
go on changing at the same speed. Then the entropy of the edge is still within 1 % of its maximum at
the end. With its default settings, a search of the space ``cnn`` on the digits reaches more than
twice this value after a tenth of the updates.
"""

RATE_CHECKS = 10
"""Number of equal parts of the epochs that update the alphas; each part ends with a check."""


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
        updated = [other for other in range(epochs) if searcher.updates_alphas(other)]
        if not is_check_due(epoch, updated, *schedule_of(epoch, epochs, searcher.stages)):
            return
        if not strongest_preference(searcher.probabilities()) < MIN_PREFERENCE:
            return
        search.state.raises += 1
        report.warnings.append(
            f"after {epoch + 1} epochs, no edge prefers an operation: none is {MIN_PREFERENCE:.0%} "
            f"more probable than the second best; arch_optimizer.lr is raised from {before:.3g} to "
            f"{self.lr:.3g} (raise {search.state.raises} of {allowed})"
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
