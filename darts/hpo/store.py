"""Where the trials of a study are kept, and the book-keeping that loses none of them.

SQLite in the run's directory by default; any database that Optuna can talk to serves several
machines. A trial whose worker is gone is recorded as failed and queued again.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from darts.strategies.strategy import RETRIED, SURPLUS

FAILURE = "failure"
"""User attribute: why a trial failed, in one line."""

THINKING = 10
"""So many heartbeats a strategy may think about a trial before it is taken for lost."""

_HISTORY = "retry_history"


def open_storage(url: str, *, heartbeat: int, retries: int) -> RDBStorage:
    """The database of an address such as ``sqlite:///tune.db`` or ``postgresql://...``.

    Args:
        url: of SQLAlchemy.
        heartbeat: seconds between signs of life of a running trial; three are missed before it is
            taken for lost.
        retries: how often a lost trial is begun again.

    Raises:
        ValueError: in one line, when it cannot be opened.
    """

    def lost(study: Study, trial: FrozenTrial) -> None:
        _queue_again(study, trial, retries)

    sqlite = url.startswith("sqlite")
    options: dict[str, Any] = {"connect_args": {"timeout": 60}} if sqlite else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=heartbeat,
                grace_period=3 * heartbeat,
                heartbeat_stale_trial_callback=lost,
            )
    except Exception as error:  # of the driver, whichever it is
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"storage={url!r} cannot be opened: {reason[:300]}") from None
    if sqlite:
        _write_ahead(storage)
    return storage


def _write_ahead(storage: RDBStorage) -> None:
    """Let readers and a writer of an SQLite file go side by side, and fsync at checkpoints only.

    The log is complete after a kill at any moment; after a power cut the last trials may be
    missing, but the file is sound.
    """
    from sqlalchemy import event

    def begin(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    event.listen(storage.engine, "connect", begin)
    storage.engine.dispose()


def replaced(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of lost trials that others have been queued for."""
    return {number for trial in trials for number in trial.system_attrs.get(_HISTORY, ())}


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that stand for themselves: not replaced, and not begun beyond the budget."""
    gone = replaced(trials)
    return [t for t in trials if t.number not in gone and SURPLUS not in t.user_attrs]


def never_alive(study: Study, trials: Sequence[FrozenTrial], heartbeat: int) -> list[FrozenTrial]:
    """Running trials that have given no sign of life in ``THINKING`` heartbeats.

    The first sign comes when the strategy has thought and the evaluation begins. Optuna takes for
    lost only what has given one, so that a trial whose worker was killed before would run for ever.
    """
    from sqlalchemy import text

    late = datetime.now() - timedelta(seconds=THINKING * heartbeat)
    quiet = [
        trial
        for trial in trials
        if trial.state == TrialState.RUNNING
        and trial.datetime_start is not None
        and trial.datetime_start < late
    ]
    if not quiet:
        return []
    storage: Any = getattr(study._storage, "_backend", study._storage)
    with storage.engine.connect() as connection:
        known = set(connection.execute(text("SELECT trial_id FROM trial_heartbeats")).scalars())
    return [trial for trial in quiet if trial._trial_id not in known]


def give_up(study: Study, trial: FrozenTrial, reason: str, retries: int) -> bool:
    """Record a running trial as failed and queue it again, unless that was done often enough.

    Returns:
        Whether this process was the one to do so.
    """
    try:
        study._storage.set_trial_user_attr(trial._trial_id, FAILURE, reason)
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    _queue_again(study, study._storage.get_trial(trial._trial_id), retries)
    return True


def _queue_again(study: Study, trial: FrozenTrial, retries: int) -> None:
    history = [*trial.system_attrs.get(_HISTORY, ()), trial.number]
    if len(history) > retries:
        return
    attributes = {
        **{name: v for name, v in trial.system_attrs.items() if not name.startswith("constraints")},
        RETRIED: history[0],
        _HISTORY: history,
    }
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs=attributes,
        )
    )
