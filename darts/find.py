"""Find the best network for a data set within a time budget: ``python -m darts.find``."""

from __future__ import annotations

import time
from functools import partial

from darts.config import launch
from darts.find_command import check, find

__all__ = ["check", "find", "main"]


def main() -> None:
    """Entry point of ``darts-find``."""
    begin = time.monotonic() - time.process_time()  # imports belong to the budget
    launch("find", check, partial(find, begin=begin))


if __name__ == "__main__":
    main()
