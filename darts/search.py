"""Search for an architecture: ``python -m darts.search dataset=cifar10``."""

from __future__ import annotations

from darts.config import launch
from darts.recipes.search import check, search

__all__ = ["check", "main", "search"]


def main() -> None:
    """Entry point of ``darts-search``."""
    launch("search", check, search)


if __name__ == "__main__":
    main()
