"""The process of a command: its rank, Ctrl-C while it starts, and the processes that it starts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_MAIN_LOCK = threading.Lock()


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank and the number of ranks; ``(0, 1)`` without ``torchrun``."""
    size = int(os.environ.get("WORLD_SIZE", 1)) if "MASTER_ADDR" in os.environ else 1
    return (int(os.environ["RANK"]), size) if size > 1 else (0, 1)


# A KeyboardInterrupt in the middle of an import or of the composition of a configuration can
# surface as an error of another type, because libraries run cleanup code before it arrives.


def disable_keyboard_interrupt() -> None:
    """Make Ctrl-C end the process without an exception, unless the program has its own handler."""
    _replace(signal.default_int_handler, signal.SIG_DFL)


def enable_keyboard_interrupt() -> None:
    """Make Ctrl-C raise KeyboardInterrupt again after ``disable_keyboard_interrupt``."""
    _replace(signal.SIG_DFL, signal.default_int_handler)


def _replace(old: object, new: signal.Handlers | signal._HANDLER) -> None:
    is_main_thread = threading.current_thread() is threading.main_thread()
    if is_main_thread and signal.getsignal(signal.SIGINT) is old:
        signal.signal(signal.SIGINT, new)


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Start processes that do not execute the script of this process.

    Otherwise, a script would need ``if __name__ == "__main__":``, and each process would import
    what the script imports. What the processes receive must not be defined in the script.
    """
    with _MAIN_LOCK:  # several threads start workers
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
