"""What a search reports: the values that it logs after each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from darts.searching.alphas import alpha_scalars, genotype_counts
from darts.searching.diagnosis import DiagnosisReport
from darts.spaces import AnyGenotype, SearchContext
from darts.training.loop import EpochReport

PRINTED_KEYS = ("true_accuracy", "true_rank", "seconds", "joules", "joules_source", "gco2e")


@dataclass(frozen=True)
class SearchedEpoch:
    """Results of one epoch of a search.

    Attributes:
        genotype: Genotype of the epoch.
        probabilities: Probabilities ``(edges, operations)`` by group, at the end of the epoch.
        measures: Expected costs, the true accuracy and the eigenvalue, those that are known.
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
