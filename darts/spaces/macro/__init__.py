"""A space of whole networks: stages of inverted residual blocks with independent choices."""

from darts.spaces.macro.genotype import PRIMITIVES, Genotype
from darts.spaces.macro.network import Network
from darts.spaces.macro.space import Macro
from darts.spaces.macro.supernet import Supernet

EdgewiseSupernet = Supernet
"""The supernet is its own reference: the candidates of a block share no computation."""

__all__ = ["PRIMITIVES", "EdgewiseSupernet", "Genotype", "Macro", "Network", "Supernet"]
