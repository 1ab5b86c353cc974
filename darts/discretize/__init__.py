"""From a trained supernet to a genotype; see ``darts.discretize.discretiser``."""

from darts.discretize.discretiser import DISCRETISERS, Discretiser, Trained, Work

__all__ = ["DISCRETISERS", "Discretiser", "Trained", "Work"]
