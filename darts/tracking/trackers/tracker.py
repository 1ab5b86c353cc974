"""The interface of trackers, and the board of a run, which writes to all of them."""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, SupportsFloat

from darts.config import ConfigError, one_of
from darts.reading import read_text
from darts.registry import Registry
from darts.tracking.optional import reason_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRACKERS: Registry[Tracker] = Registry(
    "tracker", "darts.tracking.trackers", plugins="darts.trackers"
)


@dataclass(frozen=True)
class TrackedRun:
    """What trackers know of a run when they are opened."""

    directory: Path
    name: str  # for people
    params: Mapping[str, object]  # the most important settings by dotted key
    resumed_at: int | None  # step of the checkpoint from which the run resumes; None: a new run

    def key(self) -> str:
        """Return the identifier under which trackers know this run, 32 hexadecimal digits.

        It is a hash of the place of the directory and of ``env.json``, which says when and by which
        command the run began. A resumed run has the same identifier, and another run in the same
        place has another one. No file of a directory can choose it, so a directory cannot go on
        with the records of another run; a directory that was moved begins new records.
        """
        text = f"{read_text(self.directory / 'env.json')}\n{self.directory.resolve()}"
        return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:32]


class Tracker(ABC):
    """A destination of the records of a run.

    Subclasses register themselves in ``TRACKERS``. Their constructor takes a ``TrackedRun``. If a
    method raises an exception, there is one warning, and the tracker gets no more records. A run
    that resumes repeats steps after the last checkpoint, with the same scores.
    """

    name: ClassVar[str]
    package: ClassVar[str | None] = None  # that the tracker imports

    @abstractmethod
    def __init__(self, run: TrackedRun) -> None: ...

    @abstractmethod
    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record one number per tag at a step."""

    def log_text(self, tag: str, text: str, step: int) -> None:  # noqa: B027  # optional
        """Record a text in Markdown."""

    def log_figure(self, tag: str, figure: Figure, step: int) -> None:  # noqa: B027  # optional
        """Record a figure."""

    @abstractmethod
    def log_results(self, metrics: Mapping[str, float]) -> None:
        """Record the scores of the complete run."""

    def flush(self) -> None:  # noqa: B027  # optional
        """Write what is buffered, because a checkpoint follows."""

    def close(self) -> None:  # noqa: B027  # optional
        """Write what is left. The run may be incomplete."""

    def abandon(self) -> None:  # noqa: B027  # optional
        """Close files after an exception, without writing or sending anything."""


class Board:
    """The trackers of a run."""

    def __init__(self) -> None:
        self._trackers: list[Tracker] = []

    @property
    def enabled(self) -> bool:
        """Whether anything is recorded. If False, callers need not draw figures."""
        return bool(self._trackers)

    def open(self, name: str, make: Callable[[], Tracker]) -> None:
        """Add a tracker; one that fails causes a warning instead."""
        try:
            self._trackers.append(make())
        except Exception as error:
            _warn(name, error)

    def log_scalars(self, step: int, scalars: Mapping[str, SupportsFloat | None]) -> None:
        """Record one number per tag. A value of None was not measured and is skipped."""
        known = {tag: float(value) for tag, value in scalars.items() if value is not None}
        self._each(lambda tracker: tracker.log_scalars(step, known))

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Record a text in Markdown."""
        self._each(lambda tracker: tracker.log_text(tag, text, step))

    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        """Record a matplotlib figure. Always clear the figure, to free its memory."""
        self._each(lambda tracker: tracker.log_figure(tag, figure, step))
        figure.clear()

    def log_results(self, metrics: Mapping[str, float]) -> None:
        """Record the scores of the complete run."""
        self._each(lambda tracker: tracker.log_results(metrics))

    def flush(self) -> None:
        """Write what is buffered, because a checkpoint follows."""
        self._each(lambda tracker: tracker.flush())

    def close(self) -> None:
        """Close all trackers. Later calls of any method record nothing."""
        self._each(lambda tracker: tracker.close())
        self._trackers.clear()

    def _each(self, call: Callable[[Tracker], None]) -> None:
        """Call a method of each tracker; drop those that fail, with a warning."""
        for tracker in [*self._trackers]:
            try:
                call(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                tracker.abandon()
                _warn(tracker.name, error)


def check_trackers(names: Sequence[str]) -> None:
    """Raise ConfigError if a tracker does not exist or its package is not installed."""
    for name in names:
        one_of("tracking.trackers", name, TRACKERS)
        package = TRACKERS[name].package
        if package is not None and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"tracking.trackers={name}: {package} is not installed; run pip install {package}"
            )


def _warn(name: str, error: Exception) -> None:
    warnings.warn(f"no more records for {name}: {reason_of(error)}", stacklevel=2)
