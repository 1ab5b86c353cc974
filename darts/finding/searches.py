"""The gradient searches of ``darts find``, whose genotypes become candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from darts.comparing.plan import QUIET, as_overrides
from darts.config import SearchConfig, compose
from darts.finding.candidates import Candidate, Networks
from darts.finding.decisions import Decisions
from darts.finding.proposals import Pool
from darts.finding.results import Result
from darts.judging.devices.cell_features import is_connected
from darts.judging.limits.of_search import overrides_of_limits
from darts.recipes.commands import merge_overrides, run_command
from darts.recipes.rules import search_recipe
from darts.running.execution import redirect_output
from darts.running.jobs import Job, is_complete
from darts.spaces.lookup import find_genotype

# A search that has time for fewer epochs does not start: its alphas would hardly change.
MIN_EPOCHS = 8

# Prefixes of the user's keys that apply to searches; all others apply to retrainings only.
SEARCHED_KEYS = ("dataset", "task", "space", "device", "precision")


@dataclass(frozen=True)
class GradientSearches:
    """The gradient searches of a run, in the family of the candidate that leads when they start.

    Attributes:
        pool: The networks of all families.
        decisions: Saves family and length of the searches.
        directory: Folder of the run directories.
        log: Prints a line.
    """

    pool: Pool
    decisions: Decisions
    directory: Path
    log: Callable[[str], None]

    def start(self, leader: Result, limit: float, workers: int) -> list[Job]:
        """Decide on the searches; return their jobs, none if there is no time.

        Args:
            leader: The best result so far.
            limit: Maximum of seconds for which a worker searches.
            workers: Number of workers.
        """
        self.decisions.decide("search_family", str, lambda: leader.candidate.family)
        seconds = leader.seconds / max(leader.epochs, 1)
        epochs = self.decisions.decide(
            "search_epochs", int, lambda: self._epochs(seconds, limit, workers)
        )
        return self._jobs(epochs) if epochs else []

    def candidates(self, leader: Candidate) -> Iterator[Candidate]:
        """Yield the genotypes of complete searches, with the setting of the leader."""
        started = self.pool.config.methods if "search_family" in self.decisions else []
        for method in started:
            if not is_complete(directory := self._directory(method)):
                continue
            genotype = find_genotype(str(directory))[1].simplified()
            if is_connected(genotype) and self._networks.fits(genotype):
                family, text = self._networks.family.name, str(genotype)
                yield Candidate(f"{family}-{method}", family, text, method, leader.setting)

    @property
    def _networks(self) -> Networks:
        return self.pool.networks[self.decisions.decide("search_family", str, str)]

    def _directory(self, method: str) -> Path:
        return self.directory / f"search-{self._networks.family.name}-{method}"

    def _epochs(self, seconds_per_epoch: float, limit: float, workers: int) -> int:
        """Return the number of epochs of each search; 0 if there is time for too few.

        Args:
            seconds_per_epoch: Of a retraining of the leader, which is faster than a supernet.
            limit: Maximum of seconds for which a worker searches.
            workers: Number of workers.
        """
        plan = self.pool.config.plan
        if plan.search_epochs is not None:
            return plan.search_epochs
        if plan.equal == "epochs" or limit < MIN_EPOCHS * seconds_per_epoch:
            return 0
        slowest, jobs = seconds_per_epoch, self._jobs(MIN_EPOCHS)
        for job in jobs:
            with redirect_output(self.directory / "measure-search.log"):
                words, folder = (*job.overrides, "dry_run=true"), self.directory / "measure"
                values = run_command("search", words, folder)
            slowest = max(slowest, float(str(values["estimated_seconds"])) / MIN_EPOCHS)
        epochs = int(limit * min(1.0, workers / max(len(jobs), 1)) / slowest)
        return epochs if epochs >= MIN_EPOCHS else 0

    def _jobs(self, epochs: int) -> list[Job]:
        """Return a job for each method that the space supports."""
        networks, find = self._networks, self.pool.config
        recipe = search_recipe(self.pool.facts, fine_tunes=networks.family.fine_tunes)
        sizes = {k: v for k, v in networks.family.values.items() if k.startswith(SEARCHED_KEYS)}
        jobs = []
        for method in find.methods:
            overrides = merge_overrides(
                [
                    *QUIET,
                    *overrides_of_limits(find.limit, networks.space, method),
                    f"seed={find.seed}",
                    f"space={networks.family.space}",
                    *as_overrides(sizes),
                    *as_overrides(recipe),
                    *(item for item in networks.user.values() if item.startswith(SEARCHED_KEYS)),
                    f"method={method}",
                    f"epochs={epochs}",
                ]
            )
            config = cast("SearchConfig", compose("search", overrides))
            if config.relaxation.partial > 1 and not config.space.supports_partial:
                self.log(f"no search with {method}: {config.space.name} has no partial channels")
                continue
            directory = self._directory(method)
            jobs.append(Job(directory.name, "search", directory, tuple(overrides)))
        return jobs
