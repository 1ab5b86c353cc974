"""Handle signals: Ctrl-C, SIGTERM and SIGHUP make a run save and exit, SIGUSR1 save and go on.

A second Ctrl-C ends the run at once.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType


class Interrupted(SystemExit):
    """Exit of a run that saved a checkpoint after a signal; the code is 128 + signal number."""


class Interrupt:
    """Context manager that records a signal, so that the process does not end within a step.

    When contexts are nested, as in a tuning run that trains in its own process, both record the
    signal. Ctrl-C after an earlier signal raises KeyboardInterrupt, wherever the main thread is.
    ``notice`` is a line to print on standard error when the first signal arrives.
    """

    SIGNALS = tuple(
        getattr(signal, name)
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
        if hasattr(signal, name)  # Windows lacks SIGHUP and SIGUSR1
    )

    def __init__(self, notice: str = "") -> None:
        self.received: int | None = None  # number of the signal that ends the run
        self._notice = notice
        self._save_requested = False
        self._previous: dict[int, object] = {}
        self._outer: Interrupt | None = None

    def take_save_request(self) -> bool:
        """Return whether SIGUSR1 has arrived since the last call."""
        requested, self._save_requested = self._save_requested, False
        return requested

    def _record(self, number: int, frame: FrameType | None) -> None:
        if number == getattr(signal, "SIGUSR1", None):
            self._save_requested = True
            return
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Record before printing: a second signal may arrive as soon as the notice can be read.
        first, self.received = self.received is None, number
        if first and self._notice:
            # print() could fail here, because the signal may have interrupted another print().
            with suppress(OSError):
                os.write(2, f"\n{self._notice}\n".encode())

    def __enter__(self) -> Interrupt:
        # Only the main thread may install handlers; other threads keep the default behavior.
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                # nohup makes a run ignore SIGHUP, and the run must outlive its terminal.
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._record)
            owner = getattr(self._previous.get(signal.SIGTERM), "__self__", None)
            if isinstance(owner, Interrupt):
                self._outer, self.received = owner, owner.received
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()
        if self._outer is not None:
            self._outer.received = self.received
