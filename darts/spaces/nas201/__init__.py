"""The space of NAS-Bench-201 (arXiv:2001.00326); the benchmark has trained every architecture."""

from darts.spaces.nas201.genotype import Genotype as Genotype
from darts.spaces.nas201.space import Nas201 as Nas201
