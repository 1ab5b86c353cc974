"""Signals: SIGTERM and Ctrl-C make a run save and exit; a second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupted(SystemExit):
    """Exit of a run that saved itself after a signal; the code is 128 plus the signal number."""


class Interrupt:
    """Context manager that records a signal instead of ending the process within a step.

    When contexts are nested, as in a tuning run that trains in its own process, both record it.

    Attributes:
        received: Number of the signal, or None.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, object] = {}
        self._outer: Interrupt | None = None

    def _record(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def __enter__(self) -> Interrupt:
        # Only the main thread may install handlers; other threads keep the default behavior.
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                self._previous[number] = signal.signal(number, self._record)
            owner = getattr(self._previous[signal.SIGTERM], "__self__", None)
            if isinstance(owner, Interrupt):
                self._outer, self.received = owner, owner.received
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()
        if self._outer is not None:
            self._outer.received = self.received
