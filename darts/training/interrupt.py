"""SIGTERM and Ctrl-C ask a run to save and leave; a second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupted(SystemExit):
    """Raised by a run that saved and leaves; its code is 128 plus the signal's number."""


class Interrupt:
    """Context manager that notes the signal instead of dying in the middle of a step.

    Of two, one within the other, as where a study runs a training, both come to know.

    Attributes:
        received: the signal's number, or None.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, object] = {}
        self._outer: Interrupt | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def __enter__(self) -> Interrupt:
        # Only the main thread may install handlers; elsewhere signals keep their usual effect.
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                self._previous[number] = signal.signal(number, self._note)
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
