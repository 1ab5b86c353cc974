"""Spaces: the supernet, the discrete networks and the genotypes of each."""

from darts.spaces.any_genotype import AnyGenotype, PublishedGenotype
from darts.spaces.context import SearchContext
from darts.spaces.genotype import Genotype
from darts.spaces.mixture import Mixture
from darts.spaces.network import NetworkBase, NetworkPiece
from darts.spaces.space import SPACES, Space, parse_genotype, space_of
from darts.spaces.supernet import SupernetBase

__all__ = [
    "SPACES",
    "AnyGenotype",
    "Genotype",
    "Mixture",
    "NetworkBase",
    "NetworkPiece",
    "PublishedGenotype",
    "SearchContext",
    "Space",
    "SupernetBase",
    "parse_genotype",
    "space_of",
]
