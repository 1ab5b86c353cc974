"""Plan of a comparison: its method and baselines, and the configuration of each run.

The method and each baseline have the same number of searches. Search i has the same seed for all of
them, and so has retraining j of search i. Runs with the same seed share the split of the data, and
searches with the same seed are compared in pairs. All choices use validation data. Each retraining
scores the test split once, at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from darts.config import CompareConfig, ConfigError, one_of, value_text
from darts.config.fields import flatten
from darts.judging.limits.of_search import random_within_limits
from darts.plugins import group_options
from darts.reading import JsonObject, read_json, read_yaml
from darts.recipes.commands import merge_overrides, retrain_config, search_config
from darts.running.executors import check_executor
from darts.running.jobs import read_divergence
from darts.spaces import AnyGenotype, Space
from darts.tasks.metrics import Metric
from darts.tracking.energy import is_shared_counter
from darts.tracking.ledger import sum_costs
from darts.training.device import visible_gpus
from darts.training.run import DIVERGED

RANDOM, RANDOM_SEARCH = "random", "random_search"
# Baselines without a supernet: a random architecture, and the best of several random ones.
RANDOM_BASELINES = (RANDOM, RANDOM_SEARCH)

QUIET = ("tracking.tensorboard=false", "tracking.figures=false")


class SearchCost(NamedTuple):
    """Cost of a search, without its retrainings; the source is None if it costs nothing."""

    seconds: float  # wall-clock time
    joules: float
    joules_source: str | None


class ComparisonPlan:
    """The runs of a comparison: their configurations and directories.

    A ``name`` in the arguments of the methods belongs to the method or a baseline, an ``index`` to
    a search, counted from 0. The folder ``runs/<name>/<index>`` in the directory of the comparison
    contains a search and its retrainings.

    Attributes:
        names: Names of the method and of its baselines, in this order.
        metric: Steering metric of all runs; networks are compared by its test score.
    """

    def __init__(self, config: CompareConfig, directory: Path) -> None:
        self.config, self.directory = config, directory
        self.method = config.method_name
        self.names = [self.method, *config.baselines]
        self._search = search_config(self.search_overrides(config.method_name, 0))
        self.space: Space = self._search.space
        self.metric: Metric = self._search.task.metrics[config.metric]

    def search_overrides(self, name: str, index: int) -> list[str]:
        """Return the overrides of a search.

        For a baseline, ``search_at_equal_cost`` replaces the number of epochs by the one that costs
        as much as the method's search.
        """
        own = (f"method={name}", f"seed={self.config.seed + index}")
        return self._overrides(self.config.search, name, *own)

    def retrain_overrides(self, genotype: str, index: int, number: int) -> list[str]:
        """Return the overrides of retraining ``number`` (from 0) of search ``index``."""
        seed = self.config.seed + index * self.config.retrainings + number
        return self._overrides(self.config.retrain, "", f"genotype={genotype}", f"seed={seed}")

    def short_run_overrides(self, genotype: str, index: int) -> list[str]:
        """Return the overrides of a short run of ``random_search``; it uses no test data."""
        own = (f"genotype={genotype}", "evaluate_test=false", "restarts=0")
        seed = f"seed={self.config.seed + index}"
        return self._overrides(self.config.retrain, RANDOM_SEARCH, *own, seed)

    def _overrides(self, settings: Mapping[str, object], name: str, *own: str) -> list[str]:
        config = self.config
        common = [*QUIET, *config.base, *config.overrides, *as_overrides(settings)]
        common.append(f"metric={config.metric}")
        return merge_overrides([*common, *as_overrides(config.settings.get(name) or {}), *own])

    def pilot_directory(self, name: str) -> Path:
        """Return the directory of the pilot of a baseline."""
        return self.directory / "runs" / name / "pilot"

    def search_folder(self, name: str, index: int) -> Path:
        """Return the folder that contains the directories of a search and its retrainings."""
        return self.directory / "runs" / name / str(index)

    def genotype_path(self, name: str, index: int) -> Path:
        """Return the file or run directory from which retrainings read the genotype of a search."""
        folder = self.search_folder(name, index)
        return folder / "genotype.json" if name in RANDOM_BASELINES else folder / "search"

    def retrain_directories(self, name: str, index: int) -> list[Path]:
        """Return the directories of the retrainings of a search."""
        folder = self.search_folder(name, index)
        return [folder / f"retrain-{number}" for number in range(self.config.retrainings)]

    def random_genotypes(self, index: int) -> Iterator[AnyGenotype]:
        """Yield random architectures within the limits of the searches, without end."""
        generator = torch.Generator().manual_seed(self.config.seed + index)
        return random_within_limits(self._search, generator)

    def search_cost(self, name: str, index: int) -> SearchCost:
        """Return the cost of a complete search."""
        if name == RANDOM:
            return SearchCost(0.0, 0.0, None)
        folder = self.search_folder(name, index)
        file = folder / ("chosen.json" if name in RANDOM_BASELINES else "search/summary.json")
        content = read_json(file)
        return SearchCost(*(content[key] for key in SearchCost._fields))

    def shared_counter_warning(self) -> str:
        """Return a warning if a source of joules so far is a counter that several runs share.

        Without such a counter, the text is empty.
        """
        # A resumed comparison may have fewer workers than the part before, whose costs count too.
        start = self.directory / "config.yaml"
        before = read_yaml(start)["workers"] if start.exists() else 0
        workers = max(self.config.workers, before)
        gpus = len(visible_gpus())
        sources = {str(summary.get("joules_source")) for summary in self._summaries()}
        shared = sorted(source for source in sources if is_shared_counter(source, workers, gpus))
        if not shared:
            return ""
        return (
            f"With workers={workers}, simultaneous runs share the counter {', '.join(shared)}, so "
            "each run is charged for all of them. Costs are too high and only roughly comparable; "
            "use workers=1 to measure each run alone."
        )

    def total_cost(self) -> JsonObject:
        """Return ``seconds``, ``joules``, ``joules_source`` and ``gco2e``, summed over all runs.

        The sums include pilots, short runs and diverged runs. Seconds are wall-clock time.
        """
        costs = self._summaries()
        diverged = sorted(self.directory.glob(f"runs/**/{DIVERGED}"))
        costs += [cost for file in diverged if (cost := read_divergence(file.parent)) is not None]
        return {"seconds": sum(cost["seconds"] for cost in costs), **sum_costs(costs)}

    def _summaries(self) -> list[JsonObject]:
        return [read_json(file) for file in sorted(self.directory.glob("runs/**/summary.json"))]


def check_comparison(config: CompareConfig) -> None:
    """Raise ``ConfigError`` if the configuration of the comparison or of a run is invalid."""
    check_executor(config.executor, config.workers)
    methods = group_options("method")
    method = config.method_name
    one_of("method", method, methods)
    baselines = [*RANDOM_BASELINES, *(name for name in methods if name != method)]
    for name in config.baselines:
        one_of("baselines", name, baselines)
    if not config.baselines or len(set(config.baselines)) < len(config.baselines):
        raise ConfigError(
            f"baselines={config.baselines}: must contain one or more of {', '.join(baselines)}, "
            "each at most once"
        )
    # Settings of methods that are not compared are allowed, because a command line may replace the
    # baselines of an experiment without removing their settings.
    searches = [RANDOM_SEARCH, *methods]
    for name in config.settings:
        if name not in searches:
            raise ConfigError(f"settings.{name} is unknown; choose from {', '.join(searches)}")
    plan = ComparisonPlan(config, Path())
    for name in plan.names:
        if name not in RANDOM_BASELINES:
            search_config(plan.search_overrides(name, 0))
    genotype = plan.space.random(torch.Generator().manual_seed(0)).to_json()
    retraining = retrain_config(plan.retrain_overrides(genotype, 0, 0))
    if not retraining.evaluate_test:
        raise ConfigError(
            "retrain.evaluate_test=false: must be true, since networks are compared on the test "
            "split"
        )
    retrain_config(plan.short_run_overrides(genotype, 0))


def as_overrides(settings: Mapping[str, object]) -> list[str]:
    """Return nested settings as overrides, with dotted keys and quotes where Hydra needs them."""
    return [f"{key}={value_text(key, value)}" for key, value in flatten(settings) if value != {}]
