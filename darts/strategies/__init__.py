"""Strategies of black-box search: which point to try next, given what has been tried.

Each is a part that makes a sampler for Optuna, so that storage, parallel workers, pruning and
importances come from one engine. ``STRATEGIES`` lists them.
"""

from darts.strategies.strategy import STRATEGIES, Setup, Strategy

__all__ = ["STRATEGIES", "Setup", "Strategy"]
