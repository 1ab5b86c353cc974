"""Mixing weights that are moved while the weights train; see ``darts.perturbations.perturbation``."""

from darts.perturbations.perturbation import PERTURBATIONS, Perturbation

__all__ = ["PERTURBATIONS", "Perturbation"]
