"""Components of black-box search: strategies propose points, judges score them, pruners end trials.

A strategy builds an Optuna sampler and a pruner component builds an Optuna pruner, so Optuna
provides storage and parallel workers.
"""

from darts.strategies.strategy import STRATEGIES, Setup, Strategy

__all__ = ["STRATEGIES", "Setup", "Strategy"]
