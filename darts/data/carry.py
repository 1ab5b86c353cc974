"""The state of a recurrent network between consecutive windows of a text."""

from __future__ import annotations

from torch import Tensor


class Carry:
    """The state of a network between consecutive windows of a text.

    Attributes:
        state: state before the current window, ``(B, H)``; None for zeros.
        after: state after it, without a gradient; the objective sets it.
    """

    def __init__(self) -> None:
        self.state: Tensor | None = None
        self.after: Tensor | None = None

    def advance(self) -> None:
        """Go to the next window."""
        self.state, self.after = self.after, None

    def reset(self) -> None:
        """Go to the beginning of the text."""
        self.state = self.after = None
