"""The space of networks with trained weights."""

from darts.spaces.pretrained.space import Pretrained as Pretrained
