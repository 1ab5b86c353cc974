"""Spaces: the supernet, the discrete networks and the genotypes of each."""

from darts.spaces.any_genotype import AnyGenotype as AnyGenotype
from darts.spaces.context import SearchContext as SearchContext
from darts.spaces.deriving import ByGroup as ByGroup
from darts.spaces.genotype import Genotype as Genotype
from darts.spaces.mixture import Mixture as Mixture
from darts.spaces.network import NetworkBase as NetworkBase
from darts.spaces.network import NetworkPiece as NetworkPiece
from darts.spaces.space import SPACES as SPACES
from darts.spaces.space import Space as Space
from darts.spaces.space import parse_genotype as parse_genotype
from darts.spaces.space import space_of as space_of
from darts.spaces.supernet import SupernetBase as SupernetBase
