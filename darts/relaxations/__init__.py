"""From alphas to mixing weights; see ``darts.relaxations.relaxation``."""

from darts.relaxations.relaxation import RELAXATIONS, Relaxation, edge_group

__all__ = ["RELAXATIONS", "Relaxation", "edge_group"]
