"""The space of recurrent cells, for text (DARTS, arXiv:1806.09055, section 3.1)."""

from darts.spaces.recurrent.cell import DiscreteCell, DropoutRates
from darts.spaces.recurrent.genotype import Genotype
from darts.spaces.recurrent.network import Network, TranslationNetwork
from darts.spaces.recurrent.space import PUBLISHED, Recurrent
from darts.spaces.recurrent.supernet import MixedCell, Supernet, TranslationSupernet

__all__ = [
    "PUBLISHED",
    "DiscreteCell",
    "DropoutRates",
    "Genotype",
    "MixedCell",
    "Network",
    "Recurrent",
    "Supernet",
    "TranslationNetwork",
    "TranslationSupernet",
]
