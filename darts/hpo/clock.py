"""The running time of a study, summed over all resumes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import TypedDict

from optuna.study import Study

from darts.hpo.digests import digest
from darts.hpo.store import damaged, in_background
from darts.typed_values import Misfit, typed

CLOCK = "clock"  # user attribute of a study: running time and number of finished trials so far
SAVE_INTERVAL = 5.0  # seconds between two updates of the attribute


class StudyClock:
    """Measures how long a study runs.

    The clock is monotonic, so a change of the system clock neither ends nor extends a study. A
    killed study loses at most ``SAVE_INTERVAL`` seconds of its running time. After ``hours``, no
    trial starts.

    Attributes:
        deadline: Value of ``time.monotonic()`` after which no trial starts.
    """

    def __init__(self, study: Study, hours: float = math.inf) -> None:
        self._study = study
        self._start = time.monotonic()
        self._previous = _saved_seconds(study)
        self.deadline = self._start + 3600 * hours - self._previous

    @property
    def seconds(self) -> float:
        """Running time in seconds, including the time before the study was resumed."""
        return self._previous + time.monotonic() - self._start

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Save the running time regularly while the block runs, and at its end."""
        with in_background(SAVE_INTERVAL, self.save):
            yield
        self.save()

    def save(self) -> None:
        """Store the running time in the study."""
        record = {"seconds": self.seconds, "trials": _count_finished(self._study)}
        self._study.set_user_attr(CLOCK, {**record, "digest": digest(record)})


def _count_finished(study: Study) -> int:
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


class _Saved(TypedDict):
    seconds: float
    trials: int
    digest: str


def _saved_seconds(study: Study) -> float:
    """Return the running time that is stored in the study, checked; 0 if there is none."""
    if CLOCK not in study.user_attrs:
        return 0.0
    try:
        saved = typed(_Saved, study.user_attrs[CLOCK])
    except Misfit:
        problem = "has an invalid running time"
    else:
        finished = _count_finished(study)
        record = {"seconds": saved["seconds"], "trials": saved["trials"]}
        if saved["digest"] != digest(record):
            problem = "has a running time that was changed"
        elif finished < saved["trials"]:
            problem = f"had {saved['trials']} finished trials and now has only {finished}"
        else:
            return saved["seconds"]
    raise damaged(f"the study {study.study_name!r} {problem}")
