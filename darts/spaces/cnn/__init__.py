"""The cell-based space of the DARTS paper (arXiv:1806.09055)."""

from darts.spaces.cnn.edgewise import EdgewiseSupernet
from darts.spaces.cnn.network import Network
from darts.spaces.cnn.space import PUBLISHED, Cnn
from darts.spaces.cnn.stacking import fuse_state_dict, unfuse_state_dict
from darts.spaces.cnn.supernet import Supernet
from darts.spaces.genotype import PRIMITIVES

__all__ = [
    "PRIMITIVES",
    "PUBLISHED",
    "Cnn",
    "EdgewiseSupernet",
    "Network",
    "Supernet",
    "fuse_state_dict",
    "unfuse_state_dict",
]
