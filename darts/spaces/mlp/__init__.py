"""The space of fully connected networks: depth, and the width and activation of each layer."""

from darts.spaces.mlp.genotype import ACTIVATIONS, Genotype
from darts.spaces.mlp.space import Mlp, Network
from darts.spaces.mlp.supernet import Supernet

__all__ = ["ACTIVATIONS", "Genotype", "Mlp", "Network", "Supernet"]
