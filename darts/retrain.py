"""Train the network of a genotype from scratch: ``darts retrain genotype=DARTS_V2``.

Keys that people use first::

    Network: genotype=runs/search/<run> space=NAME experiment=NAME space.channels=36
        space.cells=20
    Data: dataset=NAME dataset.root=DIR dataset.size=32 dataset.subset=1000 task=NAME
    Training: epochs=50 loader.batch_size=64 optimizer.lr=0.025 optimizer.weight_decay=3e-4
        validation=0.1 selection=best cutout=16 drop_path=0.2
    Run: seed=0 device=auto precision=fp32 hydra.run.dir=DIR resume=DIR log=plain dry_run=true
"""

from __future__ import annotations

from darts.config import launch
from darts.recipes.retrain import check, retrain


def main() -> None:
    """Entry point of ``darts-retrain``."""
    launch("retrain", check, retrain, worthless=lambda summary: summary.get("worthless"))


if __name__ == "__main__":
    main()
