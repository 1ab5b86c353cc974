"""Mixing weights moved in weight steps; see ``darts.perturbations.perturbation``."""

from darts.perturbations.perturbation import PERTURBATIONS, Perturbation

__all__ = ["PERTURBATIONS", "Perturbation"]
