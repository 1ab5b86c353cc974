"""Predict with a trained network: ``darts predict checkpoint=RUN input=PATH``.

Keys that people use first::

    Keys: checkpoint=runs/retrain/<run> input=PATH output=FILE.csv device=auto
"""

from __future__ import annotations

from darts.config import launch
from darts.recipes.prediction import check, predict


def main() -> None:
    """Entry point of ``darts-predict``."""
    launch("predict", check, predict)


if __name__ == "__main__":
    main()
