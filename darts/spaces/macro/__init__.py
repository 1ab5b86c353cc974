"""The macro space: three stages of inverted residual blocks, with a choice for each block."""

from darts.spaces.macro.genotype import PRIMITIVES, Genotype
from darts.spaces.macro.space import Macro, Network
from darts.spaces.macro.supernet import Supernet

__all__ = ["PRIMITIVES", "Genotype", "Macro", "Network", "Supernet"]
