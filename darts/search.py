"""Search for an architecture: ``python -m darts.search dataset=cifar10``.

In Python, ``darts.search(...)`` is the function ``run`` of this module.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from darts.config import SearchConfig, launch, one_of
from darts.config.overrides import hydra_overrides
from darts.config.python_call import (
    interrupts_as_keyboard_interrupt,
    make_callable,
    overrides_of,
    resume_directory,
    run_directory,
)
from darts.config.resumed_run import ResumedRun
from darts.data_modules import make_data_module
from darts.judging.one_shot import OneShotScorer
from darts.reading import read_text
from darts.recipes.commands import resume_command, run_command
from darts.recipes.complete_run import CompleteRun
from darts.recipes.facts import DataFacts
from darts.recipes.front import FOLDER
from darts.recipes.python_data import (
    Data,
    data_settings,
    loss_settings,
    model_settings,
    refuse_other_arguments,
)
from darts.recipes.retrain_command import retrain_command
from darts.recipes.search import check, search
from darts.searching.flaws import worthless_result
from darts.spaces import AnyGenotype, parse_genotype
from darts.spaces.module import passed
from darts.tasks.own_loss import Loss, passed_loss
from darts.training.distributed import Ranks

__all__ = ["SearchRun", "check", "main", "run", "search"]


CALIBRATION_BATCHES = 20
"""Training batches from which the batch norm statistics of an inherited network are computed."""


@dataclass(frozen=True)
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
        """The genotypes of a search with ``front.cost``, that of the smallest budget first.

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
        data. This method reads the data to compute them.
        """
        config = self.config
        recorded = ResumedRun.load("search", str(self.directory)).recorded_overrides
        data = make_data_module(config, Ranks())
        data.search_loaders()
        facts = DataFacts.read(config, data)
        words = shlex.split(retrain_command(self.directory, recorded, config, facts))
        return [word for word in words[3:] if not word.startswith("genotype=")]

    def network(self, *, weights: str = "new", **sizes: int) -> nn.Module:
        """Return the network of the genotype for the data of the search, untrained by default.

        For a model of your own, the result is the model with the chosen candidates in place of all
        choices. This method reads the data, which determines the sizes of input and output.

        Args:
            weights: "new", or "inherit" for the weights of the supernet, with the batch norm
                statistics of this path. Only models of your own can inherit weights.
            **sizes: Sizes of the space, for example ``channels=16, cells=8``; by default those of
                the supernet.

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


def run(
    model: nn.Module | None = None,
    *,
    data: Data | None = None,
    loss: Loss | None = None,
    out: str | Path | None = None,
    resume: str | Path | SearchRun | None = None,
    overrides: Sequence[str] = (),
    **settings: object,
) -> SearchRun:
    """Search for an architecture, as ``python -m darts.search`` does.

    Args:
        model: A model of your own that contains choices; None for one of the other spaces.
        data: The name of a data set; or PyTorch datasets of images or rows: the training samples,
            or a pair of training and test samples, see ``darts.data.torch_datasets.store``.
        loss: Function of outputs ``(B, K)`` and targets that returns the mean loss, see
            ``darts.tasks.own_loss.Loss``; by default the loss of the task.
        out: The run directory; by default a new one in ``runs/search``.
        resume: An interrupted search to continue; leave out all other arguments but ``model``
            and ``loss``.
        overrides: Configuration keys as on the command line, such as ``["space.channels=8"]``.
        **settings: Configuration keys without a dot, such as ``space="cnn"``, ``method="drnas"``,
            ``epochs=20`` or ``seed=0``.

    Raises:
        ConfigError: For a wrong key or value, with the message of the command.
        KeyboardInterrupt: After Ctrl-C; the checkpoint is saved, so the search can be resumed.
    """
    own = model_settings(model)
    if resume is not None:
        refuse_other_arguments(resume, data, out, overrides, settings)
        directory = run_directory("search", resume_directory(resume))
        with interrupts_as_keyboard_interrupt(), passed(model), passed_loss(loss):
            resume_command("search", directory)
        return SearchRun(directory, model, loss)
    directory = run_directory("search", out)
    given = {**own, **data_settings(data, {**own, **settings}, overrides), **settings}
    arguments = hydra_overrides("search", overrides_of(given, overrides))
    arguments += loss_settings(loss)
    with interrupts_as_keyboard_interrupt(), passed(model), passed_loss(loss):
        run_command("search", arguments, directory)
    return SearchRun(directory, model, loss)


def main() -> None:
    """Entry point of ``darts-search``."""
    launch("search", check, search, worthless=worthless_result)


make_callable(__name__, run)

if __name__ == "__main__":
    main()
