"""A thread that uses the database of a study while the main thread works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from threading import Event, Thread

from optuna.study import Study


@contextlib.contextmanager
def in_background(study: Study, seconds: float, function: Callable[[], object]) -> Iterator[None]:
    """Call a function that uses the database every ``seconds`` while the block runs."""
    stop = Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            with contextlib.suppress(Exception):  # the main thread meets the same error
                function()
        study._storage.remove_session()  # the database session of this thread

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
