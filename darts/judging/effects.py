"""Which parameters of a study matter, and what they gain: importances, and a factorial design.

A random forest gives the importance of each parameter. The design gives the gains of the
architecture, of the hyperparameters and of both. It has four corners, {default, best} architecture
x {default, best} hyperparameters. Each corner is trained with the same seeds, which the search did
not use. Gains are differences per seed, so an effect of the seed that is common to all corners
cancels out. A gain is positive if the best is better than the default, even if lower scores are
better.

References:
    Fisher, "The Design of Experiments", 1935.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial

from darts.spaces.parameters import Parameters
from darts.strategies.strategy import distribution

LEVELS = ("default", "best")

Corner = tuple[str, ...]  # levels of architecture and hyperparameters

_CORNERS: tuple[Corner, ...] = tuple((a, h) for h in LEVELS for a in LEVELS)
DEFAULT, _ARCHITECTURE, _HYPERPARAMETERS, _BOTH = _CORNERS

# Weight of each corner's score in each gain.
_GAINS: dict[str, dict[Corner, int]] = {
    "architecture": {_ARCHITECTURE: 1, DEFAULT: -1},
    "hyperparameters": {_HYPERPARAMETERS: 1, DEFAULT: -1},
    "both": {_BOTH: 1, DEFAULT: -1},
    "interaction": {_BOTH: 1, _ARCHITECTURE: -1, _HYPERPARAMETERS: -1, DEFAULT: 1},
}


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, in the unit of the score. One seed has neither deviation nor interval."""

    mean: float
    deviation: float | None  # standard deviation with divisor count - 1
    count: int  # number of seeds
    low: float | None  # 95 % confidence interval of the mean (Student's t)
    high: float | None

    @classmethod
    def from_values(cls, values: Collection[float]) -> Estimate:
        """Estimate the mean of one value per seed, for at least one seed."""
        from scipy.stats import t

        array = np.array(list(values), dtype=np.float64)
        mean, count = float(array.mean()), len(array)
        if count == 1:
            return cls(mean, None, 1, None, None)
        deviation = float(array.std(ddof=1))
        half_width = float(t.ppf(0.975, count - 1)) * deviation / count**0.5
        return cls(mean, deviation, count, mean - half_width, mean + half_width)

    def as_scalars(self, name: str) -> dict[str, float]:
        """Return the fields that are not None, as ``<name>``, ``<name>_deviation``, ..."""
        fields = {key: value for key, value in vars(self).items() if value is not None}
        return {name if key == "mean" else f"{name}_{key}": fields[key] for key in fields}


@dataclass(frozen=True)
class FactorialEffects:
    """Scores and gains of a factorial design.

    Attributes:
        scores: Mean scores by corner ``<architecture>_<hyperparameters>``, for example
            ``best_default``.
        gains: Gains of ``architecture`` alone, of ``hyperparameters`` alone and of ``both``, in the
            unit of the score, and their ``interaction``: the gain of both minus the sum of the two
            others. Gains whose corners are missing are left out.
    """

    scores: dict[str, Estimate]
    gains: dict[str, Estimate]

    def as_scalars(self) -> dict[str, float]:
        """Return all numbers by name: ``gain_architecture``, ``gain_architecture_low``, ..."""
        named = {f"gain_{name}": own for name, own in self.gains.items()}
        named |= {f"score_{name}": own for name, own in self.scores.items()}
        return {k: v for name, own in named.items() for k, v in own.as_scalars(name).items()}


def factorial_effects(
    scores: Mapping[Corner, Mapping[int, float]], *, higher_is_better: bool = True
) -> FactorialEffects:
    """Compute gains from the score per seed of each corner.

    A gain uses the seeds that all its corners have. Corners may be missing; a gain without seeds is
    left out.
    """
    scores = {corner: scores[corner] for corner in _CORNERS if scores.get(corner)}
    if DEFAULT not in scores:
        raise ValueError("the default architecture with default hyperparameters has no score")
    if len(scores) == 1:
        raise ValueError("only the default has scores; a gain needs another corner")
    sign = 1.0 if higher_is_better else -1.0
    gains = {}
    for name, weights in _GAINS.items():
        seeds = set.intersection(*(set(scores.get(corner, ())) for corner in weights))
        values = [
            sign * sum(weight * scores[corner][seed] for corner, weight in weights.items())
            for seed in sorted(seeds)
        ]
        if values:
            gains[name] = Estimate.from_values(values)
    corners = {"_".join(c): Estimate.from_values(s.values()) for c, s in scores.items()}
    return FactorialEffects(corners, gains)


class ParameterImportances:
    """The importance of each parameter: how much a random forest of the score depends on it.

    It is the mean decrease in impurity. Of Optuna's other evaluators, fANOVA draws logarithmic
    ranges on a linear scale. PED-ANOVA compares the best trials with all trials, so a parameter on
    which the strategy has settled looks unimportant.

    Attributes:
        study: The complete trials with all parameters; the first value of each is the score.
        by_name: Importances, the largest first; they sum to 1.
    """

    def __init__(self, parameters: Parameters, trials: Sequence[FrozenTrial], seed: int) -> None:
        # Optuna leaves out a parameter that is inactive in one of the trials. With a fixed value
        # instead, the effect of being inactive belongs to the parameter that decides about it.
        inactive = {p.name: p.domain.grid(1)[0] for p in parameters}
        distributions: dict[str, BaseDistribution] = {
            p.name: distribution(p.domain) for p in parameters
        }
        self.study: Study = optuna.create_study()
        for trial in trials:
            point = inactive | trial.params
            self.study.add_trial(
                optuna.create_trial(
                    params=point, distributions=distributions, value=trial.values[0]
                )
            )
        self.evaluator = MeanDecreaseImpurityImportanceEvaluator(seed=seed)
        found = get_param_importances(self.study, evaluator=self.evaluator)
        self.by_name = {name: float(share) for name, share in found.items()}
