"""The environment variables that ``torchrun`` sets."""

from __future__ import annotations

import os


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank and the number of ranks; ``(0, 1)`` without ``torchrun``."""
    size = int(os.environ.get("WORLD_SIZE", 1)) if "MASTER_ADDR" in os.environ else 1
    return (int(os.environ["RANK"]), size) if size > 1 else (0, 1)
