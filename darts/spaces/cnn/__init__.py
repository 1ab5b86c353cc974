"""The cell-based space of the DARTS paper (arXiv:1806.09055)."""

from darts.spaces.cnn.edgewise import EdgewiseSupernet as EdgewiseSupernet
from darts.spaces.cnn.network import Network as Network
from darts.spaces.cnn.space import PUBLISHED as PUBLISHED
from darts.spaces.cnn.space import Cnn as Cnn
from darts.spaces.cnn.stacking import fuse_state_dict as fuse_state_dict
from darts.spaces.cnn.stacking import unfuse_state_dict as unfuse_state_dict
from darts.spaces.cnn.supernet import Supernet as Supernet
from darts.spaces.genotype import PRIMITIVES as PRIMITIVES
