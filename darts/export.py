"""Export a trained network as a graph for a runtime: ``python -m darts.export checkpoint=RUN``."""

from __future__ import annotations

from darts.config import launch
from darts.recipes.exporting.export import check, export

__all__ = ["check", "export", "main"]


def main() -> None:
    """Entry point of ``darts-export``."""
    launch("export", check, export)


if __name__ == "__main__":
    main()
