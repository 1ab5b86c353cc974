"""Notices that other programs take the processor from a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

THREADS = Path("/proc/self/task")
SECONDS = 60.0  # between the checks
SHARE = 0.2  # of the time of one thread


def waiting_seconds() -> float | None:
    """Return how long the threads of this process have waited for a core, in seconds.

    None on systems that do not say.
    """
    total = 0
    try:
        for thread in THREADS.iterdir():
            try:
                total += int((thread / "schedstat").read_text().split()[1])
            except FileNotFoundError:  # the thread has ended
                continue
    except (OSError, ValueError, IndexError):
        return None
    return total / 1e9


class ContentionWatch:
    """Checks once a minute how long the threads of this process wait for a core.

    Args:
        passive: Whether threads sleep while they wait for each other, see ``darts.cpu_sharing``.
        waiting: Returns the seconds that all threads have waited for a core, or None.
        clock: Returns seconds.
    """

    def __init__(
        self,
        *,
        passive: bool,
        waiting: Callable[[], float | None] = waiting_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._passive, self._waiting, self._clock = passive, waiting, clock
        self._started, self._before = clock(), waiting()
        self._done = self._before is None

    def warning(self) -> str | None:
        """Return a warning if one is due; at most one per run."""
        now = self._clock()
        if self._done or now - self._started < SECONDS:
            return None
        waited = self._waiting()
        if waited is None or self._before is None:
            return None
        share = (waited - self._before) / (now - self._started)
        self._started, self._before = now, waited
        if share < SHARE:
            return None
        self._done = True
        remedy = "" if self._passive else ", or resume the run with OMP_WAIT_POLICY=PASSIVE"
        return (
            "other programs take the processor: in the last minute, the threads of this run waited "
            f"{share:.0%} of the time for a core; stop the other programs{remedy}"
        )
