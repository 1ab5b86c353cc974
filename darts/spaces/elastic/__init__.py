"""The ``elastic`` space: residual networks that are slices of one large network."""

from darts.spaces.elastic.genotype import Genotype as Genotype
from darts.spaces.elastic.space import Elastic as Elastic
