"""Rules that end a search early and say which epoch's architecture to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darts.registry import Registry, number

STOPPING = Registry("stopping", "darts.methods")


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


def then_to_now(values: Sequence[float], window: int, patience: int) -> float | None:
    """The mean over ``window`` values as it was ``patience`` values ago, by what it is now.

    None where there are too few values, or the mean is not positive now.
    """
    last = len(values)
    if last < window + patience:
        return None
    then, now = (sum(values[end - window : end]) for end in (last - patience, last))
    return then / now if now > 0 else None


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
        ratio = then_to_now(eigenvalues, self.window, self.patience)
        if ratio is None or not ratio < self.ratio:  # nor for no number
            return None
        return len(eigenvalues) - 1 - self.patience
