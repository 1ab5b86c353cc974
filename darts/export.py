"""Export a trained network as a graph for a runtime: ``darts export checkpoint=RUN``.

Keys that people use first::

    Keys: checkpoint=runs/retrain/<run> format=onnx quantize=int8 max_drop=0.01 root=DIR
"""

from __future__ import annotations

from darts.config import launch
from darts.recipes.exporting.export import check, export


def main() -> None:
    """Entry point of ``darts-export``."""
    launch("export", check, export)


if __name__ == "__main__":
    main()
