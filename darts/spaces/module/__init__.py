"""The space of a model of your own, which contains ``Choice`` modules."""

from darts.spaces.module.choice import Choice
from darts.spaces.module.genotype import Genotype
from darts.spaces.module.space import Module
from darts.spaces.module.supernet import Network, Supernet
from darts.spaces.module.targets import allow_import, is_passed, passed, target_of

__all__ = [
    "Choice",
    "Genotype",
    "Module",
    "Network",
    "Supernet",
    "allow_import",
    "is_passed",
    "passed",
    "target_of",
]
