"""The space of transformers: the mixer and feed-forward layer of each block are searched."""

from darts.spaces.transformer.frame import ModelConfig
from darts.spaces.transformer.genotype import (
    FEED_FORWARDS,
    MIXERS,
    NETWORK_FEED_FORWARDS,
    NETWORK_MIXERS,
    Genotype,
)
from darts.spaces.transformer.network import Network
from darts.spaces.transformer.space import Transformer
from darts.spaces.transformer.supernet import Supernet

__all__ = [
    "FEED_FORWARDS",
    "MIXERS",
    "NETWORK_FEED_FORWARDS",
    "NETWORK_MIXERS",
    "Genotype",
    "ModelConfig",
    "Network",
    "Supernet",
    "Transformer",
]
