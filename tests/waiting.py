"""Wait for other processes and threads, with a limit that only a fault exceeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_until(condition: Callable[[], object], process: Any = None, seconds: float = 240) -> None:
    """Wait until a condition holds; a process, if any, must keep running."""
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end, "timeout"
        time.sleep(0.002)


def wait_for(file: Path, process: Any = None) -> None:
    """Wait until a file exists; a process, if any, must keep running."""
    wait_until(file.exists, process)
