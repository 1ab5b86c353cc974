"""When a trial is given up that looks worse than others did at the same epoch."""

from darts.pruning.pruning import PRUNING, Pruning

__all__ = ["PRUNING", "Pruning"]
