"""Rules that end a search early and say which epoch's architecture to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darts.parts import Registry, number

STOPPING = Registry("stopping", "darts.stopping")


@dataclass
class Stopping:
    """Never stops, unless a subclass does.

    Attributes:
        needs_curvature: whether it goes by the dominant eigenvalue of the alphas' Hessian.
    """

    name: str = ""
    needs_curvature: ClassVar[bool] = False

    def stop(self, eigenvalues: Sequence[float]) -> int | None:
        """The epoch to go back to, counted from 0, or None to go on.

        Args:
            eigenvalues: at the end of each epoch so far.
        """
        return None


@STOPPING.register
@dataclass
class Never(Stopping):
    """All epochs are run."""

    name: str = "never"


@STOPPING.register
@dataclass
class Curvature(Stopping):
    """Stop when the dominant eigenvalue has begun to grow fast.

    With the mean over ``window`` epochs, it stops at the first epoch ``i`` where the mean at
    ``i - patience`` falls below ``ratio`` times the mean at ``i``, and takes the architecture of
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

    def stop(self, eigenvalues: Sequence[float]) -> int | None:
        last = len(eigenvalues) - 1
        before = last - self.patience
        if before < self.window - 1:
            return None
        now, then = (self._mean(eigenvalues, epoch) for epoch in (last, before))
        return before if now > 0 and then / now < self.ratio else None

    def _mean(self, values: Sequence[float], epoch: int) -> float:
        return sum(values[epoch - self.window + 1 : epoch + 1]) / self.window
