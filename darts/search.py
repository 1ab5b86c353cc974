"""Search for an architecture: ``python -m darts.search dataset=cifar10``."""

from __future__ import annotations

from darts.config import launch
from darts.recipes.search import check, search
from darts.searching.flaws import worthless_result

__all__ = ["check", "main", "search"]


def main() -> None:
    """Entry point of ``darts-search``."""
    launch("search", check, search, worthless=worthless_result)


if __name__ == "__main__":
    main()
