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
    """The rule ``never``, which never stops a search; other rules override ``stop_epoch``.

    Attributes:
        needs_curvature: Whether the rule uses the dominant eigenvalue of the Hessian of the alphas.
    """

    name: str = "never"
    needs_curvature: ClassVar[bool] = False

    def stop_epoch(self, eigenvalues: Sequence[float]) -> int | None:
        """Return the epoch, from 0, whose architecture ends the search; None to continue.

        Args:
            eigenvalues: Dominant eigenvalue at the end of each finished epoch.
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

    It stops at the first epoch ``i`` at which the average over ``window`` epochs at
    ``i - patience`` is below ``ratio`` times the average at ``i``. It returns the architecture of
    epoch ``i - patience``.

    References:
        Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
        arXiv:1909.09656, section 4.3.
    """

    name: str = "curvature"
    window: int = number(5, low=1)
    patience: int = number(5, low=1)
    ratio: float = number(0.75, above=0)
    needs_curvature: ClassVar[bool] = True

    def stop_epoch(self, eigenvalues: Sequence[float]) -> int | None:
        ratio = lagged_ratio(eigenvalues, self.window, self.patience)
        if ratio is None or not ratio < self.ratio:  # NaN does not stop the search
            return None
        return len(eigenvalues) - 1 - self.patience
