"""The space of recurrent cells, for text (DARTS, arXiv:1806.09055, section 3.1)."""

from darts.spaces.recurrent.cell import DiscreteCell as DiscreteCell
from darts.spaces.recurrent.cell import DropoutRates as DropoutRates
from darts.spaces.recurrent.cell import ModelSettings as ModelSettings
from darts.spaces.recurrent.genotype import Genotype as Genotype
from darts.spaces.recurrent.network import Network as Network
from darts.spaces.recurrent.space import PUBLISHED as PUBLISHED
from darts.spaces.recurrent.space import Recurrent as Recurrent
from darts.spaces.recurrent.supernet import MixedCell as MixedCell
