"""New candidates of the race: variants of the leader, and results of gradient searches."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

from darts.comparing.plan import as_overrides
from darts.config import FindConfig, LimitConfig, SearchConfig, compose
from darts.finding.candidates import BASELINE, Candidate, Networks, Start
from darts.judging.devices.cell_features import is_connected
from darts.judging.limits import has_fixed_size, limit_overrides
from darts.recipes.commands import merge_overrides
from darts.recipes.facts import DataFacts
from darts.recipes.rules import Setting, search_recipe, settings
from darts.running.jobs import Job
from darts.spaces import AnyGenotype
from darts.spaces.lookup import find_genotype
from darts.spaces.parameters import Parameters

SEARCHED_KEYS = ("dataset", "task", "space", "device", "precision")
"""Prefixes of the user's keys that apply to searches; all others apply to retrainings only."""


@dataclass(frozen=True)
class Pool:
    """Where candidates come from.

    Attributes:
        config: Configuration of the run.
        networks: The networks of each family by its name.
        facts: Facts of the data.
    """

    config: FindConfig
    networks: dict[str, Networks]
    facts: DataFacts

    def baselines(self) -> list[Candidate]:
        """Return the baselines: the first one of each family, then the second ones, and so on."""
        by_family = [
            [
                Candidate(f"{family}-{name}", family, genotype, BASELINE)
                for name, genotype in networks.baselines.items()
            ]
            for family, networks in self.networks.items()
        ]
        turns = itertools.zip_longest(*by_family)
        return [c for turn in turns for c in turn if c is not None]

    def variants(
        self, leader: Candidate, start: Start, known: Sequence[Candidate]
    ) -> Iterator[Candidate]:
        """Yield new candidates near the leader, as long as there are any.

        In turn: the leader, which continues its training with another setting; a neighbor of its
        architecture; and another baseline with the leader's setting.

        Args:
            leader: The best candidate.
            start: The training of the leader, for those that continue it.
            known: All candidates so far.
        """
        keys = {candidate.key for candidate in known}
        number = len(known)
        sources = [
            self._settings(leader, start, known) if self.config.plan.settings else iter(()),
            self._neighbors(leader, Random(self.config.seed + number)),
            self._others(leader),
        ]
        while sources:
            source = sources.pop(0)
            candidate = next((c for c in source if c.key not in keys), None)
            if candidate is not None:
                keys.add(candidate.key)
                number += 1
                yield dataclasses.replace(candidate, name=f"{candidate.name}-{number}")
                sources.append(source)

    def _settings(
        self, leader: Candidate, start: Start, known: Sequence[Candidate]
    ) -> Iterator[Candidate]:
        """Yield changes of the leader's setting; first those that fewer candidates have tried."""
        networks = self.networks[leader.family]
        recipe = networks.values | networks.family.values
        tried = Counter(name for c in known for name in c.setting.name.split("+"))
        changes = settings(self.facts, recipe | leader.setting.values, networks.user_keys)
        for change in sorted(changes, key=lambda change: tried[change.name]):
            names = [leader.setting.name] if leader.setting.values else []
            values = {
                key: value
                for key, value in {**leader.setting.values, **change.values}.items()
                # A mirrored network has twice the MACs.
                if recipe.get(key) != value and not (key == "mirror" and networks.limits.limits)
            }
            setting = Setting("+".join([*names, change.name]), values)
            stem = leader.name.partition("+")[0]
            yield dataclasses.replace(
                leader, name=f"{stem}+{setting.name}", setting=setting, start=start
            )

    def _neighbors(self, leader: Candidate, random: Random) -> Iterator[Candidate]:
        networks = self.networks[leader.family]
        if not networks.can_vary(leader.genotype):
            return
        space = networks.space
        point = space.encode(leader.genotype)
        for changed in Parameters(space.parameters()).neighbors(point, random):
            genotype = space.decode(changed).simplified()
            if is_connected(genotype) and networks.fits(genotype):
                name = f"{leader.family}-neighbor"
                yield dataclasses.replace(
                    leader,
                    name=name,
                    genotype=genotype,
                    origin=self._origin(leader, genotype),
                    start=Start(),
                )

    def _origin(self, leader: Candidate, genotype: AnyGenotype) -> str:
        baselines = self.networks[leader.family].baselines.values()
        known = {baseline.function for baseline in baselines}
        return BASELINE if genotype.function in known else "neighbor"

    def _others(self, leader: Candidate) -> Iterator[Candidate]:
        for family, networks in self.networks.items():
            for name, genotype in networks.baselines.items():
                label = f"+{leader.setting.name}" if leader.setting.values else ""
                yield Candidate(
                    f"{family}-{name}{label}", family, genotype, BASELINE, leader.setting
                )


@dataclass(frozen=True)
class GradientSearches:
    """The gradient searches of a run, in the family of the leader.

    Attributes:
        config: Configuration of the run.
        networks: Networks of the family.
        facts: Facts of the data.
        directory: Folder of the run directories.
        log: Prints a line.
    """

    config: FindConfig
    networks: Networks
    facts: DataFacts
    directory: Path
    log: Callable[[str], None]

    def jobs(self, epochs: int) -> list[Job]:
        """Return a job for each method that the space supports."""
        family, jobs = self.networks.family.name, []
        for method in self.config.methods:
            overrides = self._overrides(method, epochs)
            config = cast("SearchConfig", compose("search", overrides))
            if config.relaxation.partial > 1 and not config.space.supports_partial:
                self.log(f"no search with {method}: {config.space.name} has no partial channels")
                continue
            name = f"search-{family}-{method}"
            jobs.append(Job(name, "search", self.directory / name, tuple(overrides)))
        return jobs

    def candidates(self, jobs: Sequence[Job], leader: Candidate) -> Iterator[Candidate]:
        """Yield the genotypes of complete searches, with the setting of the leader."""
        for job in jobs:
            genotype = find_genotype(str(job.directory))[1].simplified()
            if is_connected(genotype) and self.networks.fits(genotype):
                method = job.name.rpartition("-")[2]
                name = job.name.removeprefix("search-")
                yield dataclasses.replace(
                    leader, name=name, genotype=genotype, origin=method, start=Start()
                )

    def _overrides(self, method: str, epochs: int) -> list[str]:
        networks = self.networks
        sizes = {k: v for k, v in networks.family.values.items() if k.startswith(SEARCHED_KEYS)}
        return merge_overrides(
            [
                "tracking.tensorboard=false",
                "tracking.figures=false",
                *search_limits(networks, self.config.limit, method),
                f"seed={self.config.seed}",
                f"space={networks.family.space}",
                *as_overrides(sizes),
                *as_overrides(search_recipe(self.facts)),
                *(item for item in networks.user if item.startswith(SEARCHED_KEYS)),
                f"method={method}",
                f"epochs={epochs}",
            ]
        )


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
