"""The space of a model of your own, which contains choices."""

from darts.spaces.module.choice import Choice as Choice
from darts.spaces.module.choice import InputChoice as InputChoice
from darts.spaces.module.choice import Repeat as Repeat
from darts.spaces.module.space import Module as Module
