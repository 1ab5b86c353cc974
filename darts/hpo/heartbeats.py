"""Heartbeats of running trials, by which the loss of a worker on any machine is noticed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from threading import Event, Thread

from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

MISSED = 3  # a trial is lost after this many missed heartbeats
_MIN_INTERVAL = 0.5  # seconds between two reads of the heartbeats


@contextlib.contextmanager
def send_heartbeats(study: Study, trial_id: int, interval: float) -> Iterator[None]:
    """Send the heartbeat of a trial every ``interval`` seconds while the block runs."""
    storage = _database(study)
    stop = Event()

    def send() -> None:
        while not stop.wait(interval):
            with contextlib.suppress(Exception):  # the main thread meets the same error
                storage.record_heartbeat(trial_id)
        storage.remove_session()  # the database session of this thread

    storage.record_heartbeat(trial_id)
    thread = Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class HeartbeatWatch:
    """Finds running trials whose heartbeats have stopped.

    A heartbeat is a time of the database's clock, which may be set forward while a study runs.
    A trial therefore counts as lost in two cases only: if its heartbeat has not changed for
    ``MISSED`` intervals of the monotonic clock of this process, or if it was older than that when
    this process first saw it, for example in a study that is resumed the next day. For a trial
    without a heartbeat, the time since its start takes the place of the heartbeat's age.

    Args:
        study: The study.
        interval: Seconds between heartbeats.
    """

    def __init__(self, study: Study, interval: float) -> None:
        self._study = study
        self._grace = MISSED * interval
        self._seen: dict[int, tuple[datetime | None, float]] = {}
        self._last_look = -_MIN_INTERVAL

    def lost(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the running trials that are lost; [] within ``_MIN_INTERVAL`` of the last read."""
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        now = time.monotonic()
        if not running or now - self._last_look < _MIN_INTERVAL:
            return []
        self._last_look = now
        beats, clock = _heartbeats(self._study)
        return [t for t in running if self._is_lost(t, beats.get(t._trial_id), clock, now)]

    def _is_lost(
        self, trial: FrozenTrial, beat: datetime | None, clock: datetime, now: float
    ) -> bool:
        seen = self._seen.get(trial._trial_id)
        if seen is not None and seen[0] == beat:
            return now - seen[1] > self._grace
        self._seen[trial._trial_id] = beat, now
        if seen is not None:
            return False
        start = trial.datetime_start or datetime.now()
        age = datetime.now() - start if beat is None else clock - beat
        return age.total_seconds() > self._grace


def _heartbeats(study: Study) -> tuple[dict[int, datetime], datetime]:
    """Return the last heartbeat of each trial by its ID, and the time of the database."""
    from optuna.storages._rdb.models import TrialHeartbeatModel
    from sqlalchemy import func, select

    def naive(value: datetime) -> datetime:
        return value.replace(tzinfo=None)  # PostgreSQL returns times with and without a zone

    with _database(study).engine.connect() as connection:
        rows = connection.execute(
            select(TrialHeartbeatModel.trial_id, TrialHeartbeatModel.heartbeat)
        ).all()
        clock = connection.execute(select(func.now())).scalar()
    assert isinstance(clock, datetime)
    return {row[0]: naive(row[1]) for row in rows}, naive(clock)


def _database(study: Study) -> RDBStorage:
    storage = getattr(study._storage, "_backend", study._storage)
    assert isinstance(storage, RDBStorage)
    return storage
