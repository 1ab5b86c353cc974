"""The factorial design that separates the gain of the architecture from that of hyperparameters.

The default and the best architecture are each trained with the default and the best
hyperparameters, with seeds that the search did not use. Each of these up to four combinations is a
*corner* of the design. The score of the best trial itself does not measure a gain: it is the best
of many noisy scores and therefore biased.
"""

from __future__ import annotations

from collections.abc import Mapping

from darts.hpo.search_space import ARCHITECTURE, HYPERPARAMETERS, SearchSpace, TrialSpace
from darts.judging.factorial import LEVELS
from darts.spaces import AnyGenotype
from darts.spaces.parameters import Choice, Parameter, Parameters, Point, Value

FACTORS = (ARCHITECTURE, HYPERPARAMETERS)


class FactorialDesign(TrialSpace):
    """The space ``{default, best} x {default, best} x seeds``, trained after a study.

    Args:
        space: Search space of the study.
        best: Best point of the study.
        seeds: Seeds of the trainings of each corner.

    Attributes:
        factors: Names of the ``FACTORS`` that the study varies.
    """

    def __init__(self, space: SearchSpace, best: Point, seeds: range) -> None:
        self._space, self._best = space, best
        groups = space.groups()
        self.factors = [name for name in FACTORS if name in groups]
        levels = Choice(LEVELS)
        factors = [Parameter(name, levels) for name in self.factors]
        self.parameters = Parameters([Parameter("seed", Choice(tuple(seeds))), *factors])

    def genotype(self, point: Mapping[str, Value]) -> AnyGenotype | None:
        return self._space.genotype(self._best) if point.get(ARCHITECTURE) == "best" else None

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        overrides: list[str] = []
        if point.get(ARCHITECTURE) == "best":
            overrides += self._space.architecture_overrides(self._best)
        if point.get(HYPERPARAMETERS) == "best":
            overrides += self._space.hyperparameter_overrides(self._best)
        return [*overrides, f"seed={point['seed']}"]
