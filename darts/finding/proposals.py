"""Architectures that ``darts.find`` proposes: by evolution without training, and by searches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from darts.comparing.plan import as_overrides
from darts.config import FindConfig, LimitConfig, SearchConfig, compose
from darts.finding.candidates import Candidate, Networks, function_of
from darts.finding.decisions import Decisions
from darts.finding.evolution import propose
from darts.finding.run_pool import Job, Outcome
from darts.finding.speed import threads_of_a_run
from darts.hpo.worker import redirect_output
from darts.judging.devices.cell_features import is_connected
from darts.judging.limits import has_fixed_size, limit_overrides
from darts.recipes.commands import merge_overrides, run_command
from darts.recipes.facts import DataFacts
from darts.recipes.rules import search_recipe
from darts.spaces import AnyGenotype
from darts.spaces.lookup import find_genotype
from darts.tracking import read_metrics

EVOLUTION_SHARE = 0.5
"""Share of the time of the stage for the evolution; the rest is for the searches."""

PILOT_EVALUATIONS = 8
"""Networks that the evolution scores to measure how long it takes."""

MAX_EVALUATIONS = 1000

MIN_SEARCH_EPOCHS = 8
"""Shorter searches are skipped, because their alphas have hardly changed."""

MAX_SEARCH_EPOCHS = 50  # as in the published searches

SEARCHED_KEYS = ("dataset", "task", "space", "device", "precision")
"""Prefixes of the user's keys that apply to searches, too; all others apply to trainings only."""


@dataclass
class Proposer:
    """Proposes architectures for the networks of one family.

    Attributes:
        config: Configuration of the run.
        networks: Networks of the family.
        leader: Genotype of the best baseline, as text.
        seconds_per_epoch: Seconds of an epoch of the leader's training.
        facts: Facts of the data.
        directory: Directory of the run.
        decisions: Saves decisions that depend on the time.
        seconds: Wall-clock time for all proposals.
        count: Largest number of proposals; searches get at most half of them.
        stopping: Returns whether to stop; called several times per second.
        train: Executes runs, several at a time.
        log: Prints a line.
    """

    config: FindConfig
    networks: Networks
    leader: str
    seconds_per_epoch: float
    facts: DataFacts
    directory: Path
    decisions: Decisions
    seconds: float
    count: int
    stopping: Callable[[], bool]
    train: Callable[[Sequence[Job]], dict[str, Outcome]]
    log: Callable[[str], None]

    def propose(self) -> list[Candidate]:
        """Return the proposals; incomplete if ``stopping`` has become true."""
        if self.count == 0:
            return []
        # The evolution gets at least half of the places.
        baselines = self.networks.family.baselines.values()
        known = {function_of(text) for text in baselines}
        found = [c for c in _distinct(self._from_searches()) if c.function not in known]
        searched = found[: self.count // 2]
        evolved = self._from_evolution(self.count)
        return _distinct([*searched, *evolved])[: self.count]

    # Evolution.

    def _from_evolution(self, count: int) -> list[Candidate]:
        evaluations = self.config.plan.evaluations
        if evaluations is None:
            evaluations = self.decisions.decide("evaluations", int, self._affordable_evaluations)
        if evaluations == 0:
            return []
        self.log(f"scoring {evaluations} networks without training")
        genotypes = self._evolve(evaluations, count)
        family = self.networks.family.name
        return [
            Candidate(f"{family}-evolution{number}", family, str(genotype), "evolution")
            for number, genotype in enumerate(genotypes)
        ]

    def _affordable_evaluations(self) -> int:
        start = time.perf_counter()
        self._evolve(PILOT_EVALUATIONS, 1)
        seconds = (time.perf_counter() - start) / PILOT_EVALUATIONS
        left = EVOLUTION_SHARE * self.seconds - (time.perf_counter() - start)
        return min(PILOT_EVALUATIONS + max(int(left / max(seconds, 1e-3)), 0), MAX_EVALUATIONS)

    def _evolve(self, evaluations: int, count: int) -> list[AnyGenotype]:
        baselines = [find_genotype(text)[1] for text in self.networks.family.baselines.values()]
        proposals = propose(
            self.networks.config,
            evaluations=evaluations,
            count=count + len(baselines),
            seed=self.config.seed,
            file=self.directory / "evolution.json",
            limits=self.networks.limits,
            start=baselines,
            leader=find_genotype(self.leader)[1],
            on_score=lambda number: None,
            stopping=self.stopping,
        )
        known = {genotype.function for genotype in baselines}
        genotypes = [proposal.genotype for proposal in proposals]
        new = [g for g in genotypes if g.function not in known and is_connected(g)]
        fitting = [genotype for genotype in new if self.networks.fits(genotype)]
        return fitting[:count]

    # Searches.

    def _from_searches(self) -> list[Candidate]:
        """Run a search per method; return genotypes from the end and the middle of each."""
        methods = self._applicable_methods()
        epochs = self.config.plan.search_epochs
        if epochs is None:
            affordable = partial(self._affordable_epochs, methods)
            epochs = self.decisions.decide("search_epochs", int, affordable)
        if epochs == 0 or not methods:
            return []
        self.log(f"searching with {' and '.join(methods)}, {epochs} epochs each")
        folder = self.directory / "runs"
        jobs = {
            method: Job(
                f"search-{method}",
                "search",
                folder / f"search-{method}",
                self._search_overrides(method, epochs),
            )
            for method in methods
        }
        outcomes = self.train(list(jobs.values()))
        return [
            candidate
            for method, job in jobs.items()
            if outcomes[job.name].summary is not None
            for candidate in self._trajectory(method, job.directory)
        ]

    def _applicable_methods(self) -> list[str]:
        """Return the methods that the space supports; log which ones are left out."""

        def choose() -> list[str]:
            methods = []
            for method in self.config.methods:
                config = cast("SearchConfig", compose("search", self._search_overrides(method, 50)))
                partial_channels = config.relaxation.partial > 1
                if partial_channels and not config.space.supports_partial:
                    self.log(
                        f"no search with {method}: {config.space.name} has no partial channels"
                    )
                else:
                    methods.append(method)
            return methods

        return self.decisions.decide("methods", list[str], choose)

    def _trajectory(self, method: str, directory: Path) -> list[Candidate]:
        """Return the genotypes after two thirds of a search and at its end, the last one first."""
        rows = [row for row in read_metrics(directory / "metrics.jsonl") if "genotype" in row]
        texts = [
            str(directory),
            *(str(row["genotype"]) for row in rows[2 * len(rows) // 3 - 1 :][:1]),
        ]
        family = self.networks.family.name
        candidates = []
        for number, text in enumerate(texts):
            genotype = str(find_genotype(text)[1].simplified())
            if is_connected(find_genotype(genotype)[1]) and self.networks.fits(genotype):
                name = f"{family}-{method}{number}"
                candidates.append(Candidate(name, family, genotype, method))
        return candidates

    def _affordable_epochs(self, methods: Sequence[str]) -> int:
        """Return the number of epochs of each search; 0 if there is time for too few epochs."""
        if not methods:
            return 0
        rounds = -(-len(methods) // max(self.workers, 1))
        seconds = (1 - EVOLUTION_SHARE) * self.seconds / rounds
        # An epoch of a supernet takes longer than one of a network. If there is no time for the
        # network, measuring the supernet would only waste time.
        slowest = max(self.seconds_per_epoch, 1e-3)
        if seconds >= MIN_SEARCH_EPOCHS * slowest:
            for method in methods:
                overrides = (*self._search_overrides(method, MIN_SEARCH_EPOCHS), "dry_run=true")
                log = self.directory / "runs" / "measure-search.log"
                with redirect_output(log), threads_of_a_run(self.workers):
                    values = run_command("search", overrides, self.directory / "runs" / "measure")
                estimate = float(str(values["estimated_seconds"])) / MIN_SEARCH_EPOCHS
                slowest = max(slowest, estimate)
        epochs = int(seconds / slowest)
        if epochs < MIN_SEARCH_EPOCHS:
            self.log(
                f"no gradient search: there is no time for {MIN_SEARCH_EPOCHS} epochs, and fewer "
                "hardly change the alphas"
            )
            return 0
        return min(epochs, MAX_SEARCH_EPOCHS)

    @property
    def workers(self) -> int:
        """Number of simultaneous runs."""
        return self.config.workers or 1

    def _search_overrides(self, method: str, epochs: int) -> tuple[str, ...]:
        networks = self.networks
        user = [item for item in networks.user if item.startswith(SEARCHED_KEYS)]
        limits = search_limits(networks, self.config.limit, method)
        overrides = [
            "tracking.tensorboard=false",
            "tracking.figures=false",
            *limits,
            f"seed={self.config.seed}",
            f"space={networks.family.space}",
            *as_overrides(networks.family.sizes),
            *as_overrides(search_recipe(self.facts)),
            *user,
            f"method={method}",
            f"epochs={epochs}",
        ]
        return tuple(merge_overrides(overrides))


def search_limits(networks: Networks, limit: LimitConfig, method: str) -> list[str]:
    """Return the limits that a search with a method can keep, as overrides.

    A genotype that exceeds another limit is left out after the search. Searches for texts keep no
    limits, because they count a whole text and not one token.
    """
    discretize = cast("SearchConfig", compose("search", [f"method={method}"])).discretize
    keeps = discretize.supports_limits and discretize.edge_rule == "two"
    if not keeps or not has_fixed_size(networks.space):
        return []
    if limit.device is None:  # a search cannot measure latencies
        limit = dataclasses.replace(limit, latency_ms=None)
    overrides, space = limit_overrides(limit), networks.space
    sizes = [f"limit.sizes.{key}={getattr(space, key)}" for key in space.size_keys]
    return [*overrides, *sizes] if overrides else []


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates without those that compute the same functions as an earlier one."""
    by_function: dict[str, Candidate] = {}
    for candidate in candidates:
        by_function.setdefault(candidate.function, candidate)
    return list(by_function.values())
