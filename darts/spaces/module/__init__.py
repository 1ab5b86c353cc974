"""The space of a model of your own, which contains choices."""

from darts.spaces.module.choice import Choice, InputChoice, Repeat
from darts.spaces.module.genotype import Genotype
from darts.spaces.module.space import Module, Network, Supernet
from darts.spaces.module.targets import allow_import, is_passed, passed, target_of

__all__ = [
    "Choice",
    "Genotype",
    "InputChoice",
    "Module",
    "Network",
    "Repeat",
    "Supernet",
    "allow_import",
    "is_passed",
    "passed",
    "target_of",
]
