"""Collapse checks: inspections of a running search, and rules that detect a collapse.

A search collapses when its cells fill with skip connections, which train fastest, while the score
of the supernet still rises. There are three signs: the genotype itself, a growing gap between the
scores of the supernet and of the operations that the genotype keeps, and, if it is measured, a
growing curvature of the loss around the alphas.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, sections 3 and 4: curvature and loss caused by discretization.
    Liang et al., "DARTS+", arXiv:1909.06035, section 3: the number of skip connections.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from darts.methods.stopping import lagged_ratio
from darts.registry import choice, number
from darts.spaces import AnyGenotype


@dataclass(frozen=True)
class Measurements:
    """Measurements of one collapse check, at the end of an epoch."""

    epoch: int  # counted from 1
    stage: int  # curvature and scores of two stages are not comparable
    # Number of edges by cell of the genotype: all, those with a skip connection or ``none``, and
    # those with an operation without weights, including the skip connections.
    edges: dict[str, int]
    skips: dict[str, int]
    weightless: dict[str, int]
    eigenvalue: float | None  # dominant one of the Hessian of the alphas; None: not measured
    supernet_score: float  # steering metric of the supernet
    path_score: float  # of the genotype's operations alone, with the weights of the supernet
    higher_is_better: bool
    drift: float | None  # from the genotype of the previous check, see ``genotype_drift``
    flaws: list[str]  # why the result is not yet usable; such a check is not healthy

    @property
    def gap(self) -> float | None:
        """The relative drop from the score of the supernet to the score of the path, at most 1.

        If lower scores are better, the inverse scores are compared: a perplexity of 400 instead of
        100 is a drop of 0.75. The gap is None for NaN, and if the divisor (the score of the
        supernet, or of the path if lower scores are better) is not positive.
        """
        numerator, divisor = self.path_score, self.supernet_score
        if not self.higher_is_better:
            numerator, divisor = divisor, numerator
        if not divisor > 0 or math.isnan(numerator):
            return None
        return 1 - numerator / divisor if math.isfinite(divisor) else 1.0


@dataclass
class CollapseChecks:
    """When to check a search, the thresholds, and the action on a warning: see docs/collapse.md."""

    every: int = number(5, low=0)  # epochs between two checks; 0: no checks
    # "stop" ends the search with the genotype of that epoch, "rollback" with the genotype of the
    # last healthy check.
    action: str = choice("warn", "warn", "stop", "rollback")
    # Initial share of the epochs without warnings. A rollback may return to the last check within
    # it, but not to earlier ones.
    warmup: float = number(0.2, low=0, below=1)
    skips: float = number(0.5, low=0, high=1)  # largest share in a cell; no published one has more
    weightless: float = number(0.7, low=0, high=1)  # largest share; DARTS_V1 has 0.69
    # Smallest ratio of the mean eigenvalue ``patience`` checks ago to the current one. The
    # published value is 0.75, for checks at every epoch. With 0, checks do not measure the
    # eigenvalue, because it takes as long as 10 to 40 training steps.
    ratio: float = number(0.0, low=0)
    window: int = number(3, low=1)  # checks in a mean eigenvalue
    patience: int = number(1, low=1)
    # Largest drop of the path score below its best value, relative to the supernet's score.
    fall: float = number(0.3, above=0, below=1)
    batches: int = number(4, low=1)  # validation batches for the gap
    calibration: int = number(4, low=1)  # training batches for the statistics of the path

    def is_due(self, epoch: int) -> bool:
        """Return whether a check takes place at the end of an epoch, counted from 0."""
        return self.every > 0 and (epoch + 1) % self.every == 0

    def findings(self, checks: Sequence[Measurements]) -> list[str]:
        """Return a message for each sign of collapse in the last of these checks."""
        return [
            *self._skip_findings(checks),
            *self._weightless_findings(checks),
            *self._curvature_findings(checks),
            *self._path_findings(checks),
        ]

    def warnings(self, checks: Sequence[Measurements], epochs: int) -> list[str]:
        """Return the findings; none during the warm-up of a search of ``epochs`` epochs."""
        return [] if self.in_warmup(checks[-1], epochs) else self.findings(checks)

    def in_warmup(self, check: Measurements, epochs: int) -> bool:
        """Return whether a check is too early to warn, in a search of ``epochs`` epochs."""
        return check.epoch <= self.warmup * epochs

    def last_healthy_epoch(self, checks: Sequence[Measurements], epochs: int) -> int | None:
        """Return the epoch, from 1, of the last healthy check; None if there is none.

        It has neither findings nor flaws. Only the last check within the warm-up counts, because
        earlier genotypes are arbitrary. If the curvature grows, the growth began ``patience``
        checks ago, and later checks are skipped.
        """
        last = len(checks) - (self.patience if any(self._curvature_findings(checks)) else 0)
        in_warmup = sum(self.in_warmup(check, epochs) for check in checks)
        for end in range(last, max(1, in_warmup) - 1, -1):
            if not checks[end - 1].flaws and not self.findings(checks[:end]):
                return checks[end - 1].epoch
        return None

    def eigenvalue_ratio(self, checks: Sequence[Measurements]) -> float | None:
        """Return the mean eigenvalue ``patience`` checks ago divided by the current one.

        It is None if there are too few checks in the current stage or an eigenvalue is unknown.
        """
        current = [c.eigenvalue for c in checks if c.stage == checks[-1].stage]
        values = [math.nan if value is None else value for value in current]
        return lagged_ratio(values, self.window, self.patience)

    def _skip_findings(self, checks: Sequence[Measurements]) -> Iterator[str]:
        latest = checks[-1]
        for cell, count in latest.skips.items():
            if count > self.skips * latest.edges[cell]:
                earlier = _earlier_minimum(checks, {c.epoch: c.skips.get(cell) for c in checks})
                yield (
                    f"{count} of {latest.edges[cell]} edges of the {cell} cell are skip "
                    f"connections or none{earlier}: the search is collapsing"
                )

    def _weightless_findings(self, checks: Sequence[Measurements]) -> Iterator[str]:
        counts = {c.epoch: sum(c.weightless.values()) for c in checks}
        count, edges = counts[checks[-1].epoch], sum(checks[-1].edges.values())
        if count > self.weightless * edges:
            yield (
                f"{count} of {edges} edges of the genotype have no weights"
                f"{_earlier_minimum(checks, counts)}: the network has little to train"
            )

    def _curvature_findings(self, checks: Sequence[Measurements]) -> Iterator[str]:
        ratio = self.eigenvalue_ratio(checks)
        if not self.ratio or ratio is None or not ratio < self.ratio:
            return
        current = [c for c in checks if c.stage == checks[-1].stage]
        since = current[-1 - self.patience].epoch
        growth = f"by a factor of {1 / ratio:.1f}" if ratio > 0 else "from 0"
        yield (
            f"the largest eigenvalue of the Hessian of the alphas has grown {growth} since epoch "
            f"{since}: the genotype will probably score lower than the supernet"
        )

    def _path_findings(self, checks: Sequence[Measurements]) -> Iterator[str]:
        latest = checks[-1]
        better = max if latest.higher_is_better else min
        earlier = [
            c for c in checks[:-1] if c.stage == latest.stage and not math.isnan(c.path_score)
        ]
        if not earlier:
            return
        best = better(reversed(earlier), key=lambda check: check.path_score)
        # Both gaps refer to the current supernet. An early supernet scores no better than its path,
        # so a gap to its score would say nothing.
        best_gap = dataclasses.replace(latest, path_score=best.path_score).gap
        if best_gap is None or latest.gap is None or latest.gap - best_gap <= self.fall:
            return
        yield (
            f"the genotype's operations alone score {latest.path_score:.4g} ({best.path_score:.4g} "
            f"at epoch {best.epoch}), the supernet {latest.supernet_score:.4g}: "
            "it depends on the operations that discretization removes"
        )


def _earlier_minimum(checks: Sequence[Measurements], counts: Mapping[int, int | None]) -> str:
    """Return the smallest earlier count if it is smaller, for example `` (2 at epoch 10)``."""
    current = counts[checks[-1].epoch]
    count, negative_epoch = min((n, -epoch) for epoch, n in counts.items() if n is not None)
    if current is None or count >= current:
        return ""
    return f" ({count} at epoch {-negative_epoch})"


def count_edges(genotype: AnyGenotype, operations: Sequence[str] | None = None) -> dict[str, int]:
    """Return, by cell, how many edges of a genotype have one of the operations; None: all edges."""
    return {
        cell: sum(operations is None or name in operations for *_, name in genotype.edges(cell))
        for cell in genotype.cells
    }


def genotype_drift(genotype: AnyGenotype, before: AnyGenotype) -> float:
    """Return the share of a genotype's edges that ``before`` lacks or has with other operations.

    It is 0 for a genotype without edges.
    """
    current, earlier = (
        Counter((cell, *edge) for cell in g.cells for edge in g.edges(cell))
        for g in (genotype, before)
    )
    return (current - earlier).total() / max(1, current.total())
