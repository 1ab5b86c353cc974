"""What a search does only if it is configured: limits, penalties, collapse checks and more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from darts.config import ConfigError, SearchConfig
from darts.judging.benchmark import Benchmark
from darts.judging.devices.lookup_table import info_file
from darts.judging.limits.costs import describe_limits, find_model_file
from darts.judging.limits.of_search import predicted_costs, search_limits
from darts.reading import JsonObject
from darts.searching.checks import graphed_step
from darts.searching.diagnosis import CheckInterrupted, Diagnosis, DiagnosisReport
from darts.searching.expected_cost import Penalty
from darts.spaces import AnyGenotype
from darts.training.device import random_states, restore_random_states
from darts.training.loop import EpochReport
from darts.training.run import TrainingRun

if TYPE_CHECKING:
    from darts.recipes.search import Search

NETWORK = "network_"
"""Prefix of the costs of the genotype's network; costs without it belong to the supernet."""

LATENCY_MODELS = "latency_models.json"


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
    """Keeps digests of the latency models, see ``keep_latency_models``."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._files = keep_latency_models(search.run, search.config)

    def start(self) -> None:
        for name, text in self._files.items():
            self.search.run.write(name, text)


def keep_latency_models(run: TrainingRun, config: SearchConfig) -> dict[str, str]:
    """Return the file with the SHA-256 digests of the latency models; compare it when resuming.

    The files of the models belong to the user and may be replaced in between. The genotypes of both
    parts of the search would then keep different limits.
    """
    # A checkpoint contains what penalties need.
    devices = {"limit.device": config.limit.device, "front.device": config.front.device}
    digests = {key: _digest(device) for key, device in devices.items() if device is not None}
    known = run.saved is not None and (run.path / LATENCY_MODELS).is_file()
    before = run.files.read_json(LATENCY_MODELS) if known else digests
    for key, digest in digests.items():
        if before.get(key) != digest:
            raise ConfigError(
                f"cannot resume {run.path}: the file of {key}={devices[key]} has changed since the "
                "run began; restore it, or start a new run"
            )
    return {LATENCY_MODELS: json.dumps(digests, indent=2)} if digests else {}


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
        costs = {} if self._limit is None else self._limit.costs(genotype)
        return {f"{NETWORK}{name}": cost for name, cost in costs.items()}

    def end_search(self, genotype: AnyGenotype) -> None:
        if self._limit is not None and not self._limit.allows(genotype):
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
        self._step = graphed_step(search.update, search.config, search.ranks)
        search.update = self._step

    def start(self) -> None:
        self._step.connect(self.search.loop.console.info)

    def begin_epoch(self, epoch: int) -> None:
        self._step.discard()

    def after_steps(self) -> None:
        self._step.discard()  # frees the memory of the graph


class Inspection(SearchCallback):
    """Collapse checks and the eigenvalue of the stopping rule; both may end the search."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        loaders = search.loaders
        self._diagnosis = Diagnosis(
            search.searcher,
            loaders.weights,
            loaders.alphas,
            loaders.scoring,
            search.flaw_finder,
            self._poll,
        )
        search.state.parts["diagnosis"] = self._diagnosis

    def _poll(self, measurement: str) -> None:
        """Show which measurement is running; called by all ranks together.

        Raises:
            CheckInterrupted: If any rank has received a signal.
        """
        search = self.search
        if search.ranks.all_reduce_max(bool(search.loop.interrupt.received)):
            raise CheckInterrupted
        search.loop.console.status(f"collapse check: {measurement}")

    def after_steps(self) -> None:
        self._random = random_states(self.search.ranks.device)

    def end_epoch(self, epoch: int, report: EpochReport) -> None:
        search, state = self.search, self.search.state
        try:
            eigenvalue, check = self._measure(epoch)
        except CheckInterrupted:
            restore_random_states(self._random, search.ranks.device)
            search.loop.save()  # exits; a resumed search repeats the end of the epoch
            raise
        if eigenvalue is not None:
            state.eigenvalues.append(eigenvalue)
            state.stopped_epoch = search.config.stopping.stop_epoch(state.eigenvalues)
            report.row["eigenvalue"] = report.scalars["measured/eigenvalue"] = eigenvalue
        if check is not None:
            if state.stopped_epoch is None:
                state.stopped_epoch = check.stop_at
            means = {tag: value for tag, value in report.scalars.items() if tag.endswith("/mean")}
            report.row |= {**means, **check.row}
            report.scalars |= check.scalars
            report.console["collapse"] = check.verdict
            report.warnings += check.warnings
            step = (epoch + 1) * len(state.train_loader)
            search.run.board.log_text("collapse", check.text, step)

    def _measure(self, epoch: int) -> tuple[float | None, DiagnosisReport | None]:
        """Return the eigenvalue for the stopping rule, and the collapse check, if they are due."""
        search, state = self.search, self.search.state
        eigenvalue, check = None, None
        try:
            with search.run.phase("collapse"):
                if search.config.stopping.is_due(epoch):
                    eigenvalue = self._diagnosis.eigenvalue(epoch)
                if self._diagnosis.is_due(epoch):
                    genotypes = [*state.genotypes, search.genotype.to_json()]
                    check = self._diagnosis.check(genotypes, state.scores, eigenvalue)
        finally:
            search.loop.console.status("")
        return eigenvalue, check

    def summary(self, flaws: Sequence[str]) -> JsonObject:
        return self._diagnosis.summary(flaws)

    def uncounted(self) -> list[str]:
        config = self.search.config
        parts = {
            "collapse checks": any(map(self._diagnosis.is_due, range(config.epochs))),
            f"eigenvalues (stopping={config.stopping.name})": config.stopping.needs_curvature,
        }
        return [part for part, exists in parts.items() if exists]
