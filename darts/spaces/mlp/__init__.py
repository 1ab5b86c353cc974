"""The space of fully connected networks: depth, and the width and activation of each layer."""

from darts.spaces.mlp.genotype import Genotype as Genotype
from darts.spaces.mlp.space import Mlp as Mlp
