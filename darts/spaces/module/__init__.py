"""The space of a model of your own, which contains choices."""

from darts.spaces.module.choice import Choice as Choice
from darts.spaces.module.choice import InputChoice as InputChoice
from darts.spaces.module.choice import Repeat as Repeat
from darts.spaces.module.genotype import Genotype as Genotype
from darts.spaces.module.space import Module as Module
from darts.spaces.module.space import Network as Network
from darts.spaces.module.space import Supernet as Supernet
from darts.spaces.module.targets import allow_import as allow_import
from darts.spaces.module.targets import is_passed as is_passed
from darts.spaces.module.targets import passed as passed
from darts.spaces.module.targets import target_of as target_of
