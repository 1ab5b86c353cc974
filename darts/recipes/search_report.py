"""What a search reports: the values that it logs after each epoch, and its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darts.config import ConfigError, SearchConfig
from darts.judging.limits import GenotypeLimits, describe_limits
from darts.plotting.run_figures import save_search_figures
from darts.reading import JsonObject
from darts.recipes.front import Front
from darts.recipes.search_state import SearchState
from darts.searching.alphas import alpha_scalars, genotype_counts
from darts.searching.diagnosis import DiagnosisReport
from darts.spaces import AnyGenotype, SearchContext
from darts.tracking import print_summary, read_metrics
from darts.tracking.optional import optional
from darts.training.loop import EpochReport
from darts.training.run import TrainingRun

NETWORK = "network_"
"""Prefix of the costs of the genotype's network; costs without it are those of the supernet."""

PRINTED_KEYS = ("true_accuracy", "true_rank", "seconds", "joules", "joules_source", "gco2e")


def limited_costs(limit: GenotypeLimits | None, genotype: AnyGenotype) -> dict[str, float]:
    """Return the limited costs of a genotype's network as ``network_<cost>``."""
    costs = {} if limit is None else limit.costs(genotype)
    return {f"{NETWORK}{name}": cost for name, cost in costs.items()}


def require_limits(limit: GenotypeLimits | None, genotype: AnyGenotype) -> None:
    """Refuse the result of a discretization that does not keep the limits.

    Raises:
        ConfigError: If the genotype exceeds a limit.
    """
    if limit is not None and not limit.allows(genotype):
        raise ConfigError(
            f"the discretization returned a genotype beyond {describe_limits(limit.limits)}; "
            "choose discretize=argmax"
        )


def print_search(summary: JsonObject, metric: str) -> None:
    """Print the most important values of the summary of a search."""
    limited = [key for key in summary if key.startswith(NETWORK)]
    keys = (f"valid_{metric}", *PRINTED_KEYS, *limited, "parameters", "macs")
    print_summary("search", {key: summary[key] for key in keys if key in summary})


@dataclass(frozen=True)
class SearchedEpoch:
    """Results of one epoch of a search.

    Attributes:
        genotype: Genotype of the epoch.
        probabilities: Probabilities ``(edges, operations)`` by group, at the end of the epoch.
        measures: Expected costs, limited costs, the true accuracy and the eigenvalue, those that
            are known.
        lr: Learning rate of the weights.
        arch_lr: Learning rate of the alphas; 0 if they were frozen.
        collapse: The collapse check; None if there was none.
    """

    genotype: AnyGenotype
    probabilities: Mapping[str, Tensor]
    measures: Mapping[str, float]
    lr: float
    arch_lr: float
    collapse: DiagnosisReport | None

    def report(self, context: SearchContext, *, edge_curves: bool) -> EpochReport:
        """Return the values to log.

        Args:
            context: Names of edges and candidates.
            edge_curves: Whether TensorBoard gets curves of each edge and candidate.
        """
        counts, measures = genotype_counts(self.genotype), self.measures
        scalars = alpha_scalars(self.probabilities, context, edges=edge_curves)
        report = EpochReport(lr=self.lr, row={"arch_lr": self.arch_lr, **counts, **measures})
        report.scalars = {
            "lr/alphas": self.arch_lr,
            **counts,
            **{f"measured/{name}": value for name, value in measures.items()},
            **scalars,
        }
        report.console = {name: measures[name] for name in PRINTED_KEYS if name in measures}
        if self.collapse is not None:
            means = {tag: value for tag, value in scalars.items() if tag.endswith("/mean")}
            report.row |= {**means, **self.collapse.row}
            report.scalars |= self.collapse.scalars
            report.console["collapse"] = self.collapse.verdict
            report.warnings = list(self.collapse.warnings)
        report.row["genotype"] = str(self.genotype)
        report.console["genotype"] = self.genotype
        return report


def write_results(
    run: TrainingRun,
    state: SearchState,
    genotype: AnyGenotype,
    context: SearchContext,
    front: Front | None,
) -> None:
    """Write the front and the figures of a finished search to its run directory."""
    if front is not None:
        front.write(run)
    if not run.ranks.main or not run.config.tracking.figures:
        return
    run.metrics.sync()
    title = f"{run.config.name}, seed {run.config.seed}"
    with optional("a figure"):  # metrics.jsonl may have been damaged before a resume
        rows = read_metrics(run.metrics.path)
        save_search_figures(run.path, state.history, genotype, context, rows, title=title)


def search_summary(
    config: SearchConfig,
    state: SearchState,
    genotype: AnyGenotype,
    measures: Mapping[str, float],
    *,
    size: Mapping[str, int],
    arch_lr: float,
    device: torch.device,
    flaws: Sequence[str],
    front_points: int | None,
) -> JsonObject:
    """Return the entries of ``summary.json`` that the search knows.

    Args:
        config: Configuration of the search.
        state: State at the end of the search.
        genotype: Result of the search.
        measures: Expected costs and the true accuracy, those that are known.
        size: Parameters and MACs of the supernet.
        arch_lr: Learning rate of the alphas at the end; 0 if the method does not update them.
        device: Device of the search.
        flaws: Why the result is worthless; empty if it is not.
        front_points: Genotypes of the front; None if the search looks for none.
    """
    stopped = state.stopped_epoch
    return {
        "name": config.name,
        "metric": config.metric,
        **{f"valid_{name}": score for name, score in state.scores.items()},
        **size,
        "flops": 2 * size["macs"],
        "epochs": config.epochs,
        "restarts": state.restarts,
        "arch_lr": arch_lr,
        "seed": config.seed,
        "device": str(device),
        "genotype": str(genotype),
        "genotype_epoch": config.epochs if stopped is None else stopped + 1,
        "worthless": "; ".join(flaws) or None,
        **state.diagnosis.summary(flaws),
        **genotype_counts(genotype),
        **measures,
        **({} if front_points is None else {"front_points": front_points}),
    }
