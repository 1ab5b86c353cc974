"""Stopping rules, which end a search early and choose the epoch of the returned architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darts.registry import Registry, number

STOPPING: Registry[Stopping] = Registry("stopping", "darts.methods")


@STOPPING.register
@dataclass
class Stopping:
    """The rule ``never``, which never stops a search; other rules override ``stop_epoch``."""

    name: str = "never"
    needs_curvature: ClassVar[bool] = False  # whether it uses the eigenvalue, see ``stop_epoch``

    def is_due(self, epoch: int) -> bool:
        """Return whether the rule uses the eigenvalue at the end of an epoch, from 0."""
        return self.needs_curvature

    def stop_epoch(self, eigenvalues: Sequence[float]) -> int | None:
        """Return the epoch, from 0, whose architecture ends the search; None to continue.

        ``eigenvalues`` are the dominant eigenvalues of the Hessian of the alphas at the end of each
        epoch that ``is_due`` selects.
        """
        return None


def lagged_ratio(values: Sequence[float], window: int, patience: int) -> float | None:
    """Return the moving average ``patience`` values ago divided by the latest moving average.

    It is None if there are too few values or the latest average is not positive. ``window`` is the
    number of values in an average.
    """
    last = len(values)
    if last < window + patience:
        return None
    earlier, latest = (sum(values[end - window : end]) for end in (last - patience, last))
    return earlier / latest if latest > 0 else None


@STOPPING.register
@dataclass
class Curvature(Stopping):
    """The rule that stops a search when the dominant eigenvalue starts to grow fast.

    It stops when the average of the latest ``window`` eigenvalues has grown: the average
    ``patience`` eigenvalues ago is below ``ratio`` times the latest one. It returns the
    architecture at the end, or at the center, of the earlier window. The paper has these defaults;
    ``method=darts_es`` has the values of the authors' code.

    References:
        Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
        arXiv:1909.09656, section 4.3.
    """

    name: str = "curvature"
    window: int = number(5, low=1)
    patience: int = number(5, low=1)
    ratio: float = number(0.75, above=0)
    every: int = number(1, low=1)  # epochs between eigenvalues
    # Whether an average belongs to the epoch at the center of its window and not to the last one.
    centered: bool = False
    min_epoch: int = number(0, low=0)  # smallest epoch to return, counted from 0
    needs_curvature: ClassVar[bool] = True

    def is_due(self, epoch: int) -> bool:
        return epoch % self.every == 0

    def stop_epoch(self, eigenvalues: Sequence[float]) -> int | None:
        ratio = lagged_ratio(eigenvalues, self.window, self.patience)
        if ratio is None or not ratio < self.ratio:  # NaN does not stop the search
            return None
        last = len(eigenvalues) - 1 - self.patience - (self.window // 2 if self.centered else 0)
        epoch = last * self.every
        return epoch if epoch >= self.min_epoch else None
