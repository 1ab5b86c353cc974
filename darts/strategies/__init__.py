"""Components of black-box search: strategies, judges and pruners.

Strategies propose points, judges score them, and pruners stop trials early.

A strategy builds an Optuna sampler and a pruner component builds an Optuna pruner, so storage,
parallel workers and importances come from one engine. ``STRATEGIES``, ``JUDGES`` and ``PRUNERS``
list the components by name.
"""

from darts.strategies.strategy import STRATEGIES, Setup, Strategy

__all__ = ["STRATEGIES", "Setup", "Strategy"]
