"""The space of NAS-Bench-201 (arXiv:2001.00326); the benchmark has trained every architecture."""

from darts.spaces.nas201.genotype import PRIMITIVES, Genotype
from darts.spaces.nas201.network import Network
from darts.spaces.nas201.space import Nas201
from darts.spaces.nas201.supernet import Supernet

__all__ = ["PRIMITIVES", "Genotype", "Nas201", "Network", "Supernet"]
