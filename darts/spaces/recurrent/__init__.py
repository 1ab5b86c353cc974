"""The space of recurrent cells (arXiv:1806.09055, section 3.1)."""

from darts.spaces.language_model_output import LanguageModelOutput
from darts.spaces.recurrent.cell import DiscreteCell
from darts.spaces.recurrent.derive import derive
from darts.spaces.recurrent.dropout import DropoutRates
from darts.spaces.recurrent.edgewise import EdgewiseCell, EdgewiseSupernet
from darts.spaces.recurrent.encoding import decode, encode, parameters, random_genotype
from darts.spaces.recurrent.genotype import ACTIVATIONS, PRIMITIVES, Genotype
from darts.spaces.recurrent.network import Network
from darts.spaces.recurrent.pieces import pieces
from darts.spaces.recurrent.published import PUBLISHED, Published
from darts.spaces.recurrent.mixed_cell import MixedCell
from darts.spaces.recurrent.space import Recurrent
from darts.spaces.recurrent.supernet import Supernet

__all__ = [
    "ACTIVATIONS",
    "PRIMITIVES",
    "PUBLISHED",
    "DiscreteCell",
    "DropoutRates",
    "EdgewiseCell",
    "EdgewiseSupernet",
    "Genotype",
    "Network",
    "LanguageModelOutput",
    "Published",
    "Recurrent",
    "MixedCell",
    "Supernet",
    "decode",
    "derive",
    "encode",
    "parameters",
    "pieces",
    "random_genotype",
]
