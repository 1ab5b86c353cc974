"""A space of whole networks: stages of inverted residual blocks, each block chosen on its own."""

from darts.spaces.macro.derive import derive
from darts.spaces.macro.genotype import PRIMITIVES, Genotype
from darts.spaces.macro.network import Network
from darts.spaces.macro.pieces import pieces
from darts.spaces.macro.space import Macro
from darts.spaces.macro.supernet import Supernet

EdgewiseSupernet = Supernet
"""The definition and the fast way are one here: the candidates of a block share nothing."""

__all__ = [
    "PRIMITIVES",
    "EdgewiseSupernet",
    "Genotype",
    "Macro",
    "Network",
    "Supernet",
    "derive",
    "pieces",
]
