"""What an architecture can be: for each space its supernet, its discrete network and genotypes."""

from darts.spaces.context import SearchContext
from darts.spaces.genotype import Genotype
from darts.spaces.mixture import Mixture
from darts.spaces.space import SPACES, Space, parse_genotype, space_of

__all__ = ["SPACES", "Genotype", "Mixture", "SearchContext", "Space", "parse_genotype", "space_of"]
