"""Search for an architecture: ``darts search dataset=cifar10``.

Keys that people use first::

    What is searched, and how: space=NAME method=NAME experiment=NAME space.channels=16
        space.cells=8 arch_optimizer.lr=3e-4 penalty.flops=1e8 limit.macs=1e8 front.cost=macs
    Data: dataset=NAME dataset.root=DIR dataset.size=32 dataset.subset=1000 task=NAME
    Training: epochs=50 loader.batch_size=64 optimizer.lr=0.025 optimizer.weight_decay=3e-4
    Run: seed=0 device=auto precision=fp32 hydra.run.dir=DIR resume=DIR log=plain dry_run=true
"""

from __future__ import annotations

from darts.config import launch
from darts.recipes.search import check, search


def main() -> None:
    """Entry point of ``darts-search``."""
    launch("search", check, search, worthless=lambda summary: summary.get("worthless"))


if __name__ == "__main__":
    main()
