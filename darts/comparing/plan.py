"""The honest protocol: who is compared, by which runs, and what each of them is told.

A method and its baselines are searched equally often. Search number i of each has the same seed,
and so have its retrainings, so that they share the split of the data and are compared pair by pair.
Whatever a search or a baseline chooses, it chooses on validation data; the test split is scored
once by each retraining, at its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from darts.comparing.scheduler import PlannedRun
from darts.comparing.pilot import CostModel, pilot_overrides
from darts.comparing.runs import RunFailed, RunLauncher, read_divergence, is_complete, read_summary
from darts.config import CompareConfig, ConfigError, group_options
from darts.config.overrides import quoted
from darts.hpo.study import merged
from darts.hpo.tools import trial_config
from darts.spaces import Space
from darts.tasks.metrics import Metric
from darts.tracking.files import read_json, write_atomically, write_json
from darts.tracking.formats import format_value, format_duration
from darts.tracking.ledger import common_source
from darts.tracking.metrics import read_metrics

RANDOM, RANDOM_SEARCH = "random", "random_search"
DRAWN = (RANDOM, RANDOM_SEARCH)
"""Baselines that are no method: an architecture drawn, and the best of some trained briefly."""

HOPELESS = 3
"""If so many short trainings are the first and all diverge, it is not the architectures."""

_QUIET = ("tracking.tensorboard=false", "tracking.pictures=false")
_PLAIN = re.compile(r"[\w./-]+")


class ComparisonPlan:
    """The runs of a comparison.

    Args:
        config: of the comparison.
        directory: of the comparison; runs lie below ``runs/<name>/<number of the search>``.

    Attributes:
        space: whose architectures are compared.
        metric: the score by which they are.
    """

    def __init__(self, config: CompareConfig, directory: Path) -> None:
        self.config = config
        self.directory = directory
        searched = trial_config("search", self.search_overrides(config.method_name, 0))
        self.space: Space = searched.space
        self.metric: Metric = searched.task.metrics[config.metric]

    @property
    def names(self) -> list[str]:
        """The method, then its baselines."""
        return [self.config.method_name, *self.config.baselines]

    def search_overrides(self, name: str, index: int) -> list[str]:
        """Overrides of a search; of a baseline's as if it had the method's epochs."""
        own = self.config.settings.get(name) or {}
        given = [*self._common(self.config.search), *as_overrides(own), f"method={name}"]
        return merged([*given, f"seed={self.config.seed + index}"])

    def retrain_overrides(self, genotype: str, index: int, number: int) -> list[str]:
        """Overrides of a retraining."""
        seed = self.config.seed + index * self.config.retrainings + number
        return merged([*self._common(self.config.retrain), f"genotype={genotype}", f"seed={seed}"])

    def short_overrides(self, genotype: str, index: int) -> list[str]:
        """Overrides of one training of ``random_search``, which sees no test data."""
        own = self.config.settings.get(RANDOM_SEARCH) or {}
        given = [*self._common(self.config.retrain), *as_overrides(own), f"genotype={genotype}"]
        return merged([*given, "test=false", f"seed={self.config.seed + index}"])

    def _common(self, own: Mapping[str, Any]) -> list[str]:
        config = self.config
        given = [*config.base, *config.overrides, *as_overrides(own)]
        return [*_QUIET, *given, f"metric={config.metric}"]

    def place(self, name: str, index: int) -> Path:
        """Where search number ``index`` and its retrainings lie."""
        return self.directory / "runs" / name / str(index)

    def found(self, name: str, index: int) -> Path:
        """What names the genotype of a search to a retraining."""
        place = self.place(name, index)
        return place / "genotype.json" if name in DRAWN else place / "search"

    def retrained(self, name: str, index: int) -> list[Path]:
        """The directories of the retrainings of a search."""
        place = self.place(name, index)
        return [place / f"retrain-{number}" for number in range(self.config.retrainings)]

    def random(self, index: int) -> Iterator[Any]:
        """Architectures drawn with the seed of a search."""
        generator = torch.Generator().manual_seed(self.config.seed + index)
        while True:
            yield self.space.random(generator)

    def jobs(self, runs: RunLauncher) -> list[PlannedRun]:
        """All that is to be done, seed by seed."""
        jobs = []
        for name in self.config.baselines:
            if name not in DRAWN:
                pilot = self.directory / "runs" / name / "pilot"
                given = self.search_overrides(name, 0)
                overrides = merged([*given, *pilot_overrides(trial_config("search", given))])
                jobs.append(self._run(runs, f"pilot of {name}", "search", pilot, overrides))
        for index in range(self.config.searches):
            for name in self.names:
                search = self._search_job(runs, name, index)
                jobs.append(search)
                genotype = str(self.found(name, index))
                for number, directory in enumerate(self.retrained(name, index)):
                    title = f"retrain {name} {index}.{number}"
                    overrides = self.retrain_overrides(genotype, index, number)
                    jobs.append(
                        self._run(runs, title, "retrain", directory, overrides, search.name)
                    )
        return jobs

    def _run(
        self, runs: RunLauncher, title: str, command: str, place: Path, given: list[str], *needs: str
    ) -> PlannedRun:
        def work() -> str:
            return self._told(runs(command, place, given))

        return PlannedRun(title, work, partial(is_complete, place), needs)

    def _told(self, summary: Mapping[str, Any]) -> str:
        # Not the test score: nobody shall stop a comparison at a moment that suits them.
        name = f"valid_{self.metric.name}"
        score = f"{name} {format_value(name, summary[name])} " if name in summary else ""
        return f"{score}in {format_duration(summary['seconds'])}"

    def _search_job(self, runs: RunLauncher, name: str, index: int) -> PlannedRun:
        """The search of a method, or what stands for one."""
        place, title = self.place(name, index), f"search {name} {index}"
        budget = f"search {self.config.method_name} {index}"
        if name == self.config.method_name:
            given = self.search_overrides(name, index)
            return self._run(runs, title, "search", place / "search", given)
        if name == RANDOM:
            file = self.found(name, index)
            return PlannedRun(title, partial(self._draw, index), file.exists)
        if name == RANDOM_SEARCH:
            work = partial(self._random_search, runs, index)
            return PlannedRun(title, work, (place / "chosen.json").exists, (budget,))
        search = place / "search"
        work = partial(self._equal_search, runs, name, index)
        return PlannedRun(title, work, partial(is_complete, search), (budget, f"pilot of {name}"))

    def _draw(self, index: int) -> str:
        genotype = next(self.random(index))
        write_atomically(self.found(RANDOM, index), genotype.to_json())
        return "drawn"

    def _budget(self, index: int) -> dict[str, Any]:
        """What the method's search with the same seed has cost."""
        summary = read_summary(self.place(self.config.method_name, index) / "search")
        if not summary["joules"] > 0:
            raise RunFailed(f"the cost of the search of {self.config.method_name} is not known")
        return summary

    def _equal_search(self, runs: RunLauncher, name: str, index: int) -> str:
        """A baseline's search of as many epochs as cost what the method's search has cost."""
        budget, pilot = self._budget(index), self.directory / "runs" / name / "pilot"
        require_common_source(read_summary(pilot), budget)
        own = self.search_overrides(name, index)
        epochs = read_cost_model(pilot).epochs_within(trial_config("search", own), budget["joules"])
        given = merged([*own, f"epochs={epochs}"])
        summary = runs("search", self.place(name, index) / "search", given)
        share = summary["joules"] / budget["joules"]
        return f"{self._told(summary)}, {epochs} epochs at {share:.2f} of the cost"

    def _random_search(self, runs: RunLauncher, index: int) -> str:
        """Architectures trained briefly until the cost of the method's search is used up."""
        budget, place = self._budget(index), self.place(RANDOM_SEARCH, index)
        joules = seconds = 0.0
        diverged: list[str] = []
        best: tuple[float, Any] | None = None
        score, number = f"valid_{self.metric.name}", 0
        for number, genotype in enumerate(self.random(index)):
            if joules >= budget["joules"]:
                break
            directory = place / f"short-{number:03d}"
            given = self.short_overrides(genotype.to_json(), index)
            summary = self._short(runs, directory, given)
            require_common_source(summary, budget)
            joules, seconds = joules + summary["joules"], seconds + summary["seconds"]
            if score not in summary:
                diverged.append(summary["why"])
                if len(diverged) == number + 1 == HOPELESS:
                    raise RunFailed(f"the first {HOPELESS} short trainings diverged: {diverged[0]}")
            elif self.metric.prefers(summary[score], None if best is None else best[0]):
                best = (summary[score], genotype)
        if best is None:
            raise RunFailed(f"{score} was a number for none of {number} architectures")
        write_atomically(self.found(RANDOM_SEARCH, index), best[1].to_json())
        cost = {"joules": joules, "seconds": seconds, "joules_source": budget["joules_source"]}
        write_json(place / "chosen.json", {**cost, "trained": number, score: best[0]})
        lost = f" ({len(diverged)} diverged)" if diverged else ""
        return f"best of {number}{lost}: {score} {format_value(score, best[0])} in {format_duration(seconds)}"

    def _short(self, runs: RunLauncher, directory: Path, given: list[str]) -> dict[str, Any]:
        """The summary of a short training or, if it diverged, what it has cost for nothing."""
        bill = read_divergence(directory)
        if bill is None:
            try:
                return runs("retrain", directory, given)
            except RunFailed:
                bill = read_divergence(directory)
                if bill is None:
                    raise
        return bill

    def search_cost(self, name: str, index: int) -> dict[str, Any]:
        """Seconds, joules and their source of what was done before the retrainings."""
        if name == RANDOM:
            return {"seconds": 0.0, "joules": 0.0, "joules_source": None}
        place = self.place(name, index)
        told = read_json(place / "chosen.json" if name in DRAWN else place / "search/summary.json")
        return {key: told[key] for key in ("seconds", "joules", "joules_source")}


def check_comparison(config: CompareConfig) -> None:
    """Refuse whatever a run would be refused for, and comparisons that are none.

    Raises:
        ConfigError: in one line.
    """
    methods = group_options("method")
    if config.method_name not in methods:
        raise ConfigError(f"method={config.method_name!r} is unknown; choose from {', '.join(methods)}")
    known = [*DRAWN, *(method for method in methods if method != config.method_name)]
    for name in config.baselines:
        if name not in known:
            raise ConfigError(f"baselines: {name!r} is none; choose from {', '.join(known)}")
    if not config.baselines or len(set(config.baselines)) < len(config.baselines):
        raise ConfigError(
            f"baselines={config.baselines} must be one or more of {', '.join(known)}, each once"
        )
    searched = [RANDOM_SEARCH, *methods]
    for name in config.settings:  # of any search, for an experiment may be run with other baselines
        if name not in searched:
            raise ConfigError(f"settings.{name} is of no search; choose from {', '.join(searched)}")
    protocol = ComparisonPlan(config, Path())
    for name in protocol.names:
        if name not in DRAWN:
            trial_config("search", protocol.search_overrides(name, 0))
    genotype = next(protocol.random(0)).to_json()
    retrained = trial_config("retrain", protocol.retrain_overrides(genotype, 0, 0))
    if not retrained.test:
        raise ConfigError("retrain.test=false: a comparison compares networks on the test split")
    trial_config("retrain", protocol.short_overrides(genotype, 0))


def read_cost_model(pilot: Path) -> CostModel:
    """What searches cost by a pilot that is complete."""
    given = read_json(pilot / "overrides.json")["overrides"]
    config = trial_config("search", [o for o in given if not o.startswith("hydra.")])
    rows = [row["joules"] for row in read_metrics(pilot / "metrics.jsonl") if "epoch" in row]
    phases = read_json(pilot / "energy.json")["phases"]
    looks = sum(entry["joules"] for entry in phases if entry["phase"] == "collapse")
    return CostModel(config, rows, read_summary(pilot)["joules"], looks)


def require_common_source(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise ``RunFailed`` for joules that do not compare, since they are of different sources."""
    sources = [ours["joules_source"], theirs["joules_source"]]
    if common_source(sources) is None:
        raise RunFailed(f"joules of {sources[0]} and of {sources[1]} do not compare")


def as_overrides(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Nested settings as overrides.

    >>> flat({"epochs": 3, "optimizer": {"lr": 0.1}})
    ['epochs=3', 'optimizer.lr=0.1']
    """
    found = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found += as_overrides(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            text = value if _PLAIN.fullmatch(value) else quoted(value)
            found.append(f"{prefix}{key}={text}")
        else:
            found.append(f"{prefix}{key}={json.dumps(value)}")
    return found
