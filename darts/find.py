"""Find the best network for a data set within a time budget: ``python -m darts.find``.

Keys that people use first::

    Data: dataset=NAME dataset.root=DIR dataset.size=32 dataset.subset=1000 task=NAME
    Budget: budget.minutes=10 budget.hours=1
    Trained weights: pretrained.weights=auto
    Limits of the result: limit.parameters=1e6 limit.macs=1e8
    Run: workers=2 seed=0 hydra.run.dir=DIR resume=DIR
"""

from __future__ import annotations

import time
from functools import partial

from darts.config import launch
from darts.find_command import check, find


def main() -> None:
    """Entry point of ``darts-find``."""
    begin = time.monotonic() - time.process_time()  # imports belong to the budget
    launch("find", check, partial(find, begin=begin))


if __name__ == "__main__":
    main()
