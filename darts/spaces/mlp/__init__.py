"""The space of fully connected networks: depth, and width and activation of each layer."""

from darts.spaces.mlp.derive import derive
from darts.spaces.mlp.encoding import decode, encode, parameters, random_genotype
from darts.spaces.mlp.genotype import ACTIVATIONS, Genotype
from darts.spaces.mlp.network import Network
from darts.spaces.mlp.pieces import pieces
from darts.spaces.mlp.space import Mlp
from darts.spaces.mlp.supernet import Supernet

__all__ = [
    "ACTIVATIONS",
    "Genotype",
    "Mlp",
    "Network",
    "Supernet",
    "decode",
    "derive",
    "encode",
    "parameters",
    "pieces",
    "random_genotype",
]
