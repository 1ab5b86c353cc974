"""The space of recurrent cells, for text (DARTS, arXiv:1806.09055, section 3.1)."""

from darts.spaces.recurrent.cell import DiscreteCell
from darts.spaces.recurrent.dropout import DropoutRates
from darts.spaces.recurrent.edgewise import EdgewiseCell, EdgewiseSupernet
from darts.spaces.recurrent.genotype import ACTIVATIONS, PRIMITIVES, Genotype
from darts.spaces.recurrent.mixed_cell import MixedCell
from darts.spaces.recurrent.network import Network, TranslationNetwork
from darts.spaces.recurrent.published import PUBLISHED
from darts.spaces.recurrent.space import Recurrent
from darts.spaces.recurrent.supernet import Supernet, TranslationSupernet

__all__ = [
    "ACTIVATIONS",
    "PRIMITIVES",
    "PUBLISHED",
    "DiscreteCell",
    "DropoutRates",
    "EdgewiseCell",
    "EdgewiseSupernet",
    "Genotype",
    "MixedCell",
    "Network",
    "Recurrent",
    "Supernet",
    "TranslationNetwork",
    "TranslationSupernet",
]
