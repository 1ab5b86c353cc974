"""Components of black-box search: strategies propose points, judges score them, pruners stop early.

A strategy builds an Optuna sampler and a pruner component builds an Optuna pruner, so storage and
parallel workers come from one engine.
"""

from darts.strategies.strategy import STRATEGIES, Setup, Strategy

__all__ = ["STRATEGIES", "Setup", "Strategy"]
