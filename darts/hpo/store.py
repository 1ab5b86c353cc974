"""The database of a study, and the recovery of lost trials.

The default is an SQLite file in the run directory; a database server connects several machines. A
trial whose worker has died is recorded as failed and queued again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from sqlite3 import Connection

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.hpo.trials import FAILURE, RETRY_HISTORY, retry_history
from darts.strategies.point_sampler import RETRIED
from darts.strategies.strategy import silence_optuna_warnings

MAX_STARTUP_INTERVALS = 10  # a trial must send its first heartbeat within so many intervals


def open_storage(url: str, *, heartbeat: int, retries: int) -> RDBStorage:
    """Open the database of a study; raise ``ValueError`` if that is impossible.

    Args:
        url: SQLAlchemy URL, for example ``sqlite:///tune.db`` or ``postgresql://...``.
        heartbeat: Seconds between heartbeats of a running trial; a trial counts as lost after
            three missed heartbeats.
        retries: Maximum number of repetitions of a lost trial.
    """
    sqlite = url.startswith("sqlite")
    try:
        with silence_optuna_warnings():
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": 60}} if sqlite else {},
                heartbeat_interval=heartbeat,
                grace_period=3 * heartbeat,
                heartbeat_stale_trial_callback=lambda s, trial: _requeue(s, trial, retries),
            )
    except Exception as error:  # every database driver raises its own types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"storage={url!r} cannot be opened: {reason[:300]}") from None
    if sqlite:
        _enable_write_ahead_log(storage)
    return storage


def _enable_write_ahead_log(storage: RDBStorage) -> None:
    """Let readers and one writer use an SQLite file at the same time.

    The database is complete if a process is killed at any moment. It syncs rarely, so the last
    trials may be missing after a power failure, but the file stays consistent.
    """
    from sqlalchemy import event

    def configure(connection: Connection, record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("PRAGMA synchronous=NORMAL").close()

    event.listen(storage.engine, "connect", configure)
    storage.engine.dispose()


def trials_without_heartbeat(
    study: Study, trials: Sequence[FrozenTrial], heartbeat: int
) -> list[FrozenTrial]:
    """Return trials that have run for ``MAX_STARTUP_INTERVALS`` intervals and sent no heartbeat.

    The first heartbeat is sent when the strategy has proposed a point and the evaluation starts.
    Optuna detects only the loss of trials that have sent a heartbeat; without this check, a trial
    whose worker dies earlier would count as running forever. ``heartbeat`` is the interval in
    seconds.
    """
    from sqlalchemy import text

    latest_start = datetime.now() - timedelta(seconds=MAX_STARTUP_INTERVALS * heartbeat)
    overdue = [
        trial
        for trial in trials
        if trial.state == TrialState.RUNNING
        and trial.datetime_start is not None
        and trial.datetime_start < latest_start
    ]
    if not overdue:
        return []
    storage = getattr(study._storage, "_backend", study._storage)
    assert isinstance(storage, RDBStorage)
    with storage.engine.connect() as connection:
        alive = set(connection.execute(text("SELECT trial_id FROM trial_heartbeats")).scalars())
    return [trial for trial in overdue if trial._trial_id not in alive]


def fail_and_requeue(study: Study, trial: FrozenTrial, reason: str, retries: int) -> bool:
    """Record a running trial as failed, and queue its point again up to ``retries`` times.

    Returns:
        False if another process had already finished the trial.
    """
    try:
        study._storage.set_trial_user_attr(trial._trial_id, FAILURE, reason)
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    _requeue(study, study._storage.get_trial(trial._trial_id), retries)
    return True


def _requeue(study: Study, trial: FrozenTrial, retries: int) -> None:
    """Queue the point of a lost trial again, unless it has been repeated ``retries`` times."""
    history = [*retry_history(trial), trial.number]
    if len(history) > retries:
        return
    attributes = {k: v for k, v in trial.system_attrs.items() if not k.startswith("constraints")}
    attributes |= {RETRIED: history[0], RETRY_HISTORY: history}
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs=attributes,
        )
    )
