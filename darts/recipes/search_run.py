"""A complete search, as ``darts search`` returns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from darts.config import SearchConfig, one_of
from darts.config.resumed_run import ResumedRun
from darts.data_modules import make_data_module
from darts.judging.one_shot import OneShotScorer
from darts.reading import read_json_object, read_text
from darts.recipes.cost_callbacks import FOLDER
from darts.recipes.model import CompleteRun
from darts.recipes.retrain_command import RETRAINING
from darts.spaces import AnyGenotype, parse_genotype
from darts.spaces.module.targets import passed
from darts.tasks.sample_objective import Loss, passed_loss
from darts.training.distributed import Ranks
from darts.typed_values import entry

# Training batches from which the batch norm statistics of an inherited network are computed.
CALIBRATION_BATCHES = 20


@dataclass(frozen=True, repr=False)
class SearchRun(CompleteRun):
    """A complete search.

    Attributes:
        model: The model whose choices were searched, or None.
        loss: The loss function of the user's own, or None.
    """

    model: nn.Module | None = None
    loss: Loss | None = None

    @property
    def genotype(self) -> AnyGenotype:
        """The architecture that the search found."""
        return parse_genotype(str(self.summary["genotype"]))

    @property
    def front(self) -> list[AnyGenotype]:
        """The genotypes of a search with ``front.cost``, the one of the smallest budget first.

        The rows of ``front.csv`` have their costs and scores.
        """
        count = int(self.summary.get("front_points", 0))
        files = [self.directory / FOLDER / f"{number}.json" for number in range(1, count + 1)]
        return [parse_genotype(read_text(file)) for file in files]

    @property
    def config(self) -> SearchConfig:
        """The configuration of the search."""
        config = ResumedRun.load("search", str(self.directory)).config
        assert isinstance(config, SearchConfig)
        return config

    def retrain_overrides(self) -> list[str]:
        """Return the overrides of the retraining that the search recommends.

        They are the overrides in the retraining command that the search prints. They select the
        data set of the search; for data of your own, they also set the values that follow from the
        data.
        """
        return entry(read_json_object(self.directory / RETRAINING), "overrides", list[str])

    def network(self, *, weights: str = "new", **sizes: int) -> nn.Module:
        """Return the network of the genotype for the data of the search, untrained by default.

        For a model of your own, the result is the model with the chosen candidates in place of all
        choices. This method reads the data, which determines the sizes of input and output.

        Args:
            weights: "new", or "inherit" for the weights of the supernet, with the batch norm
                statistics of this path. Only models of your own and networks of
                ``space=elastic`` can inherit weights.
            **sizes: Sizes of the space, for example ``channels=16, cells=8``; by default the
                sizes of the supernet.

        Raises:
            ValueError: If networks of the space cannot inherit weights.
        """
        one_of("weights", weights, ("new", "inherit"))
        if weights == "inherit":
            if sizes:
                raise ValueError(f"a network that inherits weights cannot have other {[*sizes]}")
            with passed(self.model), passed_loss(self.loss):
                scorer = OneShotScorer(self.directory, CALIBRATION_BATCHES)
                return scorer.network(self.genotype).plain()
        config = self.config
        space = type(config.space)(**{**vars(config.space), **sizes})
        fitting: dict[str, Any] = {**make_data_module(config, Ranks()).network_sizes(space)}
        with passed(self.model):
            return space.network(self.genotype, **fitting).plain()
