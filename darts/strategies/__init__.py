"""Components of black-box search: strategies propose points, judges score them, pruners end trials.

A strategy builds an Optuna sampler, and a pruner component builds an Optuna pruner. Optuna itself
stores the trials, which parallel workers share.
"""

from darts.strategies.strategy import STRATEGIES, Setup, Strategy

__all__ = ["STRATEGIES", "Setup", "Strategy"]
