"""Which parameters of a study matter, by a random forest of the score."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial

from darts.spaces.parameters import Parameters
from darts.strategies.strategy import distribution


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
