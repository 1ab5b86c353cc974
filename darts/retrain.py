"""Train the network of a genotype from scratch: ``python -m darts.retrain genotype=DARTS_V2``."""

from __future__ import annotations

from darts.config import launch
from darts.recipes.retrain import check, retrain
from darts.searching.flaws import worthless_result

__all__ = ["check", "main", "retrain"]


def main() -> None:
    """Entry point of ``darts-retrain``."""
    launch("retrain", check, retrain, worthless=worthless_result)


if __name__ == "__main__":
    main()
