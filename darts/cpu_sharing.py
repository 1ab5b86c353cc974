"""How PyTorch's CPU threads wait for each other if other programs also need the processor.

The threads of OpenMP wait in a busy loop. On an idle machine that is fastest. If another program
needs a core, however, the loop takes the time of the thread that it waits for, and a step takes
several times as long (docs/supernet.md has measurements). OpenMP reads the setting once, when
PyTorch is imported, so it is chosen before.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "KMP_BLOCKTIME")
LOAD = Path("/proc/loadavg")


def running_tasks() -> int:
    """Return how many threads of the machine run or want to run, without this one."""
    running, _, _ = LOAD.read_text().split()[3].partition("/")
    return int(running) - 1


def choose_wait_policy() -> None:
    """Let threads sleep while they wait if other programs leave them too few cores.

    Do nothing if PyTorch is imported already, if the user has chosen a setting, or on a system that
    does not say what runs. Results do not depend on the choice.
    """
    if "torch" in sys.modules or any(name in os.environ for name in SETTINGS):
        return
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        return
    counts = []
    try:
        for _ in range(5):
            counts.append(running_tasks())
            time.sleep(0.003)
    except (OSError, ValueError, IndexError):
        return
    # PyTorch uses as many threads as there are cores.
    if sorted(counts)[len(counts) // 2] >= 1:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
