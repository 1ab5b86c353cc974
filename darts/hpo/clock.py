"""The running time of a study, summed over all resumes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from optuna.study import Study

from darts.config import ConfigError
from darts.hpo.background import in_background
from darts.hpo.digests import digest

CLOCK = "clock"  # user attribute of a study: running time and number of finished trials so far
SAVE_INTERVAL = 5.0  # seconds between two updates of the attribute


class StudyClock:
    """Measures how long a study runs.

    The clock is monotonic, so a change of the system clock neither ends nor extends a study. A
    killed study loses at most ``SAVE_INTERVAL`` seconds of its running time.

    Args:
        study: The study.
        hours: Running time after which no trial starts; None for no limit.

    Attributes:
        deadline: Value of ``time.monotonic()`` after which no trial starts; None for no limit. All
            processes of a machine share this clock.
    """

    def __init__(self, study: Study, hours: float | None = None) -> None:
        self._study = study
        self._start = time.monotonic()
        self._previous = _saved_seconds(study)
        left = None if hours is None else 3600 * hours - self._previous
        self.deadline = None if left is None else self._start + left

    @property
    def seconds(self) -> float:
        """Running time in seconds, including the time before the study was resumed."""
        return self._previous + time.monotonic() - self._start

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Save the running time regularly while the block runs, and at its end."""
        with in_background(self._study, SAVE_INTERVAL, self.save):
            yield
        self.save()

    def save(self) -> None:
        """Store the running time in the study."""
        record = {"seconds": self.seconds, "trials": _count_finished(self._study)}
        self._study.set_user_attr(CLOCK, {**record, "digest": digest(record)})


def _count_finished(study: Study) -> int:
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def _saved_seconds(study: Study) -> float:
    """Return the running time that is stored in the study, checked; 0 if there is none."""
    saved = study.user_attrs.get(CLOCK)
    if saved is None:
        return 0.0
    record = {k: v for k, v in saved.items() if k != "digest"} if isinstance(saved, dict) else {}
    seconds, trials = record.get("seconds"), record.get("trials")
    if not isinstance(seconds, float) or not isinstance(trials, int):
        problem = "has an invalid running time"
    elif saved.get("digest") != digest(record) or not math.isfinite(seconds):
        problem = "has a running time that was changed"
    elif _count_finished(study) < trials:
        problem = f"had {trials} finished trials and now has only {_count_finished(study)}"
    else:
        return seconds
    raise ConfigError(
        f"the study {study.study_name!r} {problem}; restore the database from a backup, or start a "
        "new study"
    )
