"""Whether a search is collapsing: rules on plain numbers, each of which says what is wrong.

A search collapses when its cells fill with skip connections, which train fastest, while the
supernet still gets better. It shows in the genotype itself, in how sharply the loss is curved
around the alphas, and in what is left of the supernet's score by the genotype's operations alone.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, sections 3 and 4: the curvature and the loss by discretization.
    Liang et al., "DARTS+", arXiv:1909.06035, section 3: the number of skip connections.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darts.methods.stopping import then_to_now
from darts.registry import choice, number


@dataclass(frozen=True)
class Look:
    """What was found at the end of one epoch; plain values.

    Attributes:
        epoch: from 1.
        stage: number of the search's stage; curvature and scores of two stages are not comparable.
        edges: by cell of the genotype, how many there are.
        skips: by cell, how many of them pass their input on or put nothing out.
        weightless: by cell, how many carry an operation without weights, skips among them.
        eigenvalue: the dominant one of the alphas' Hessian; None where there is none.
        supernet: its score, and
        path: that of the genotype's operations alone, by the metric that steers the search.
        higher_is_better: of the metric.
        gap: share of the score that is lost between both, see ``gap_of``.
        drift: share of the genotype's edges that the one of the look before had not.
    """

    epoch: int
    stage: int
    edges: dict[str, int]
    skips: dict[str, int]
    weightless: dict[str, int]
    eigenvalue: float | None
    supernet: float
    path: float
    higher_is_better: bool
    gap: float | None
    drift: float | None


@dataclass
class Doctor:
    """When to look, what to call a collapse, and what to do about it.

    Attributes:
        every: epochs from one look to the next; 0: none.
        action: ``warn`` tells; ``stop`` also ends the search, with the genotype of that epoch;
            ``rollback`` ends it with the genotype of the last healthy look.
        warmup: share of the epochs in which nothing is called a collapse; of the looks in it, only
            the last may be gone back to.
        skips: share of a cell's edges that may be skip connections or ``none``. No published cell
            has more than half of them.
        weightless: share of all edges of a genotype that may be without weights. DARTS_V1 has 0.69.
        ratio: of the mean eigenvalue ``patience`` looks ago to that of now; below, it has grown too
            fast. As published, where each epoch is looked at.
        window: looks in a mean of eigenvalues.
        patience: see ``ratio``.
        fall: by how much the score of the genotype's path may fall from its best so far, as a share
            of the supernet's score.
        batches: of validation data, of scoring size, on which the gap is measured.
        calibration: training batches for the statistics of batch norm in the genotype's path.
    """

    every: int = number(5, low=0)
    action: str = choice("warn", "warn", "stop", "rollback")
    warmup: float = number(0.2, low=0, below=1)
    skips: float = number(0.5, low=0, high=1)
    weightless: float = number(0.7, low=0, high=1)
    ratio: float = number(0.75, above=0)
    window: int = number(3, low=1)
    patience: int = number(1, low=1)
    fall: float = number(0.3, above=0, below=1)
    batches: int = number(4, low=1)
    calibration: int = number(4, low=1)

    def looks_at(self, epoch: int) -> bool:
        """Whether an epoch, counted from 0, is one to look at."""
        return self.every > 0 and (epoch + 1) % self.every == 0

    def complaints(self, looks: Sequence[Look]) -> list[str]:
        """What is wrong at the last of these looks, in words; nothing when all is well."""
        found = [*self._of_skips(looks), self._of_weights(looks)]
        found += [self._of_curvature(looks), self._of_path(looks)]
        return [text for text in found if text is not None]

    def verdict(self, looks: Sequence[Look], epochs: int) -> list[str]:
        """The complaints, unless it is too early for them in a search of so many epochs."""
        return [] if self._is_early(looks[-1], epochs) else self.complaints(looks)

    def _is_early(self, look: Look, epochs: int) -> bool:
        return look.epoch <= self.warmup * epochs

    def healthy(self, looks: Sequence[Look], epochs: int) -> int | None:
        """The epoch, from 1, of the last look without complaints; None if there is none.

        Of the looks within the warm-up of a search of so many epochs only the last counts, since
        the genotypes before it are accidents. Where the curvature has grown, the growth began
        ``patience`` looks ago.
        """
        last = len(looks)
        if self._of_curvature(looks) is not None:
            last -= self.patience
        early = sum(self._is_early(look, epochs) for look in looks)
        first = max(1, early)
        sound = (end for end in range(last, first - 1, -1) if not self.complaints(looks[:end]))
        end = next(sound, None)
        return None if end is None else looks[end - 1].epoch

    def growth(self, looks: Sequence[Look]) -> float | None:
        """The mean eigenvalue ``patience`` looks ago by that of now; None without enough looks."""
        values = [look.eigenvalue for look in looks if look.stage == looks[-1].stage]
        known = [math.nan if value is None else value for value in values]
        return then_to_now(known, self.window, self.patience)

    def _of_skips(self, looks: Sequence[Look]) -> list[str]:
        now = looks[-1]
        found = []
        for cell, count in now.skips.items():
            if count > self.skips * now.edges[cell]:
                least = _least(looks, {look.epoch: look.skips.get(cell) for look in looks})
                found.append(
                    f"{count} of {now.edges[cell]} edges of the {cell} cell are skip connections "
                    f"or none{least}: the search is collapsing"
                )
        return found

    def _of_weights(self, looks: Sequence[Look]) -> str | None:
        now = looks[-1]
        count, edges = sum(now.weightless.values()), sum(now.edges.values())
        if count <= self.weightless * edges:
            return None
        least = _least(looks, {look.epoch: sum(look.weightless.values()) for look in looks})
        return (
            f"{count} of {edges} edges of the genotype have no weights{least}: there is little "
            "left to train"
        )

    def _of_curvature(self, looks: Sequence[Look]) -> str | None:
        ratio = self.growth(looks)
        if ratio is None or not ratio < self.ratio:
            return None
        since = [look for look in looks if look.stage == looks[-1].stage][-1 - self.patience].epoch
        grown = f"{1 / ratio:.1f} times" if ratio > 0 else "from nothing"
        return (
            f"the largest eigenvalue of the alphas' Hessian has grown {grown} since epoch {since}: "
            "the genotype is likely to do worse than the supernet"
        )

    def _of_path(self, looks: Sequence[Look]) -> str | None:
        now, better = looks[-1], max if looks[-1].higher_is_better else min
        earlier = [
            look for look in looks[:-1] if look.stage == now.stage and not math.isnan(look.path)
        ]
        if not earlier:
            return None
        best = better(reversed(earlier), key=lambda look: look.path)
        # Both by the supernet of now, which in the beginning was no better than its path.
        then, gap = (
            gap_of(now.supernet, path, higher_is_better=now.higher_is_better)
            for path in (best.path, now.path)
        )
        if then is None or gap is None or gap - then <= self.fall:
            return None
        return (
            f"the genotype's operations alone score {now.path:.4g} ({best.path:.4g} at epoch "
            f"{best.epoch}), the supernet {now.supernet:.4g}: it lives by what they leave out"
        )


def _least(looks: Sequence[Look], counts: Mapping[int, int | None]) -> str:
    """`` (2 at epoch 10)``: the smallest count of earlier looks, the latest of such, if smaller."""
    now = counts[looks[-1].epoch]
    earlier = [(n, -epoch) for epoch, n in counts.items() if n is not None]
    count, epoch = min(earlier)
    return f" ({count} at epoch {-epoch})" if now is not None and count < now else ""


def counts_of(genotype: Any, operations: Sequence[str] | None = None) -> dict[str, int]:
    """By cell, how many edges of a genotype carry one of these operations; any, for None."""
    return {
        cell: sum(operations is None or name in operations for *_, name in genotype.edges(cell))
        for cell in genotype.cells
    }


def drift_of(genotype: Any, before: Any) -> float:
    """Share of a genotype's edges, with their operations, that the other has not; 0 without any."""
    now, then = (
        Counter((cell, *edge) for cell in one.cells for edge in one.edges(cell))
        for one in (genotype, before)
    )
    return (now - then).total() / max(1, now.total())


def gap_of(supernet: float, path: float, *, higher_is_better: bool) -> float | None:
    """Share of a score that is lost from the supernet to the path of its genotype, at most 1.

    Of a score of which less is better, it is the share of its inverse: a perplexity of 400 in the
    place of 100 loses three quarters. None where that is no number.
    """
    best, left = (supernet, path) if higher_is_better else (path, supernet)
    if not best > 0 or math.isnan(left):
        return None
    return 1 - left / best if math.isfinite(best) else 1.0
