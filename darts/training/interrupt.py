"""Signals: Ctrl-C, SIGTERM and SIGHUP make a run save and exit; SIGUSR1 makes it save and go on.

A second Ctrl-C ends the run at once.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType


class Interrupted(SystemExit):
    """Exit of a run that saved itself after a signal; the code is 128 plus the signal number."""


class Interrupt:
    """Context manager that records a signal instead of ending the process within a step.

    When contexts are nested, as in a tuning run that trains in its own process, both record it.

    Args:
        notice: Line to print on standard error when the first signal arrives.

    Attributes:
        received: Number of the signal that ends the run, or None.
    """

    SIGNALS = tuple(
        getattr(signal, name)
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
        if hasattr(signal, name)  # Windows lacks the last two
    )

    def __init__(self, notice: str = "") -> None:
        self.received: int | None = None
        self._notice = notice
        self._save_requested = False
        self._previous: dict[int, object] = {}
        self._outer: Interrupt | None = None

    def take_save_request(self) -> bool:
        """Return whether SIGUSR1 has arrived since the last call."""
        requested, self._save_requested = self._save_requested, False
        return requested

    def _record(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if number == getattr(signal, "SIGUSR1", None):
            self._save_requested = True
            return
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Record before printing: a second signal may arrive as soon as the notice can be read.
        first, self.received = self.received is None, number
        if first and self._notice:
            # Printing could fail here: the signal may have interrupted another print.
            with suppress(OSError):
                os.write(2, f"\n{self._notice}\n".encode())

    def __enter__(self) -> Interrupt:
        # Only the main thread may install handlers; other threads keep the default behavior.
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                # nohup ignores SIGHUP, and the run shall survive the end of its terminal.
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._record)
            owner = getattr(self._previous.get(signal.SIGTERM), "__self__", None)
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
