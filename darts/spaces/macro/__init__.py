"""The macro space: three stages of inverted residual blocks, with a choice for each block."""

from darts.spaces.macro.genotype import Genotype as Genotype
from darts.spaces.macro.space import Macro as Macro
