"""The space of transformers: the mixer and feed-forward layer of each block are searched."""

from darts.spaces.transformer.frame import ModelConfig
from darts.spaces.transformer.genotype import Genotype
from darts.spaces.transformer.space import Network, Transformer
from darts.spaces.transformer.supernet import Supernet

__all__ = ["Genotype", "ModelConfig", "Network", "Supernet", "Transformer"]
