"""Results of a complete comparison: scores, costs and verdicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darts.comparing.plan import RANDOM, RANDOM_SEARCH, ComparisonPlan
from darts.judging.statistics import Interval, bootstrap, compare_methods, verdict
from darts.reading import read_json
from darts.running.jobs import RunFailed, read_summary
from darts.tracking.formats import is_fraction
from darts.tracking.ledger import common_source

# Keys of the summary of a retraining that are also fields of NetworkResult.
_COPIED = ("seed", "parameters", "macs", "seconds", "joules", "joules_source", "genotype")

# Range of the ratio of costs, baseline to method, that counts as equal cost.
EQUAL_COST = (0.9, 1.1)


@dataclass(frozen=True)
class NetworkResult:
    """Scores and costs of the network of one retraining."""

    name: str  # of the method or baseline
    search: int  # index of its search, from 0
    retraining: int  # index of the retraining within its search, from 0
    seed: int  # of the retraining
    test_score: float
    valid_score: float | None
    parameters: int
    macs: int
    search_seconds: float
    search_joules: float
    search_joules_source: str | None
    seconds: float  # of the retraining, wall-clock time
    joules: float  # of the retraining
    joules_source: str
    genotype: str
    directory: str  # run directory, relative to the directory of the comparison

    def as_row(self, metric: str) -> dict[str, object]:
        """Return a row of ``rows.csv``; ``metric`` replaces "score" in the names of columns."""
        return {key.replace("_score", f"_{metric}"): value for key, value in vars(self).items()}


class ComparisonResults:
    """Scores, intervals and tests of a comparison whose runs are all complete.

    A ``name`` belongs to the method or a baseline.

    Attributes:
        score: Name of the compared score, for example ``test_accuracy``.
        networks: Results of all retrainings.
        scores: By name and index of the search, the scores of its retrainings.
        intervals: By name, the mean score over searches and its confidence interval.
        comparisons: The comparison of the method with each baseline.
    """

    def __init__(self, plan: ComparisonPlan) -> None:
        self.plan, config = plan, plan.config
        self.score = f"test_{config.metric}"
        self._search_costs = {
            name: [plan.search_cost(name, index) for index in range(config.searches)]
            for name in plan.names
        }
        self.networks = [network for name in plan.names for network in self._read_networks(name)]
        self.scores = {
            name: [
                [n.test_score for n in self.networks if n.name == name and n.search == index]
                for index in range(config.searches)
            ]
            for name in plan.names
        }
        self.intervals = {
            name: bootstrap(scores, draws=config.draws) for name, scores in self.scores.items()
        }
        self.comparisons = compare_methods(
            (plan.method, self.scores[plan.method]),
            [(name, self.scores[name]) for name in config.baselines],
            higher_is_better=plan.metric.higher_is_better,
            draws=config.draws,
        )

    def _read_networks(self, name: str) -> list[NetworkResult]:
        networks = []
        for index, cost in enumerate(self._search_costs[name]):
            for number, directory in enumerate(self.plan.retrain_directories(name, index)):
                summary = read_summary(directory)
                if not isinstance(summary.get(self.score), (int, float)):
                    raise RunFailed(f"{directory} has no {self.score}, so it cannot be compared")
                network = NetworkResult(
                    name=name,
                    search=index,
                    retraining=number,
                    test_score=summary[self.score],
                    valid_score=summary.get(f"valid_{self.plan.metric.name}"),
                    directory=directory.relative_to(self.plan.directory).as_posix(),
                    **{f"search_{key}": value for key, value in cost._asdict().items()},
                    **{key: summary[key] for key in _COPIED},
                )
                networks.append(network)
        return networks

    def search_joules(self, name: str) -> float | None:
        """Return the mean joules of a search, or None if the joules have no common source."""
        costs = self._search_costs[name]
        if common_source(cost.joules_source for cost in costs) is None:
            return None
        return float(np.mean([cost.joules for cost in costs]))

    def cost_ratio(self, name: str) -> float | None:
        """Return the cost of a baseline's searches divided by the cost of the method's.

        It is 0 for the baseline ``random``, which draws an architecture and costs nothing. None if
        the joules have no common source or the method's are 0.
        """
        if name == RANDOM:
            return 0.0
        method = self.plan.method
        costs = [*self._search_costs[method], *self._search_costs[name]]
        if common_source(cost.joules_source for cost in costs) is None:
            return None
        ours, theirs = self.search_joules(method), self.search_joules(name)
        return theirs / ours if ours and theirs is not None else None

    def short_runs(self, name: str) -> float | None:
        """Return the mean number of short runs per search of ``random_search``; otherwise None."""
        if name != RANDOM_SEARCH:
            return None
        folders = [self.plan.search_folder(name, n) for n in range(self.plan.config.searches)]
        return float(np.mean([read_json(folder / "chosen.json")["trained"] for folder in folders]))

    def format_score(self, value: float) -> str:
        """Format a score, in percent if it is a fraction."""
        return f"{100 * value:.2f} %" if is_fraction(self.score) else f"{value:.4g}"

    def format_difference(self, value: float) -> str:
        """Format a difference of scores, in percentage points if they are fractions."""
        return f"{100 * value:.2f} points" if is_fraction(self.score) else f"{value:.4g}"

    def verdicts(self) -> list[str]:
        """Return the verdict on each baseline, with a remark if its cost was unequal or is unknown.

        There is no remark on ``random``, which costs nothing.
        """
        return [
            verdict(comparison, self.format_difference) + self._cost_remark(comparison.baseline)
            for comparison in self.comparisons
        ]

    def _cost_remark(self, name: str) -> str:
        if name == RANDOM:
            return ""
        ratio, method = self.cost_ratio(name), self.plan.method
        if ratio is None:
            return f" Whether {name} cost as much as {method} is unknown."
        if EQUAL_COST[0] <= ratio <= EQUAL_COST[1]:
            return ""
        return f" {name} cost {ratio:.2f} times as much as {method}, which is not an equal cost."

    def summary(self) -> dict[str, object]:
        """Return the results for ``summary.json``, a flat mapping."""
        values: dict[str, object] = {}
        for name, interval in self.intervals.items():
            values |= _flatten(f"{name}_{self.score}", interval)
            values[f"{name}_search_joules"] = self.search_joules(name)
        for comparison, text in zip(self.comparisons, self.verdicts(), strict=True):
            key = f"difference_{comparison.baseline}"
            values |= _flatten(key, comparison.difference)
            values[f"{key}_p"] = comparison.p
            values[f"{key}_p_holm"] = comparison.corrected_p
            values[f"{key}_cliffs_delta"] = comparison.delta
            values[f"{key}_significant"] = not comparison.objections
            values[f"{key}_verdict"] = text
        return values


def _flatten(key: str, interval: Interval) -> dict[str, object]:
    return {key: interval.mean, f"{key}_low": interval.low, f"{key}_high": interval.high}
