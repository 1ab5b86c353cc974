"""Train the network of a genotype from scratch: ``python -m darts.retrain genotype=DARTS_V2``.

In Python, ``darts.retrain(...)`` is the function ``run`` of this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from darts.config import ConfigError, launch
from darts.config.python_call import (
    interrupts_as_keyboard_interrupt,
    make_callable,
    overrides_of,
    resume_directory,
    run_directory,
)
from darts.recipes.commands import merge_overrides, resume_command, run_command
from darts.recipes.complete_run import CompleteRun
from darts.recipes.model import Model, load
from darts.recipes.python_data import (
    Data,
    data_settings,
    loss_settings,
    model_settings,
    refuse_other_arguments,
)
from darts.recipes.retrain import check, retrain
from darts.search import SearchRun
from darts.searching.flaws import worthless_result
from darts.spaces import AnyGenotype
from darts.spaces.lookup import find_genotype
from darts.spaces.module import passed
from darts.tasks.own_loss import Loss, passed_loss

__all__ = ["RetrainRun", "check", "main", "retrain", "run"]


@dataclass(frozen=True)
class RetrainRun(CompleteRun):
    """A complete retraining.

    Attributes:
        base: The model of the user's own whose genotype was trained, or None.
    """

    base: nn.Module | None = None

    def model(self) -> Model:
        """Return the trained network, see ``darts.load``."""
        return load(self.directory, base=self.base)


def run(
    genotype: AnyGenotype | SearchRun | str | Path | None = None,
    data: Data | None = None,
    *,
    model: nn.Module | None = None,
    loss: Loss | None = None,
    out: str | Path | None = None,
    resume: str | Path | RetrainRun | None = None,
    overrides: Sequence[str] = (),
    **settings: object,
) -> RetrainRun:
    """Train and score the network of a genotype, as ``python -m darts.retrain`` does.

    Args:
        genotype: A genotype; the name of a published one, its text, a JSON file or the directory of
            a search; or a ``SearchRun``, whose data set and recommended values are the defaults.
        data: As for ``darts.search``.
        model: The model of your own to which the genotype belongs; a ``SearchRun`` knows it.
        loss: As for ``darts.search``; by default that of the ``SearchRun``.
        out: The run directory; by default a new one in ``runs/retrain``.
        overrides: As for ``darts.search``.
        resume: An interrupted retraining to continue; leave out all other arguments but ``model``
            and ``loss``.
        **settings: Configuration keys without a dot, such as ``epochs=50`` or ``seed=0``. The space
            is that of the genotype.

    Raises:
        ConfigError: For a wrong key or value, with the message of the command.
        KeyboardInterrupt: After Ctrl-C; the checkpoint is saved, so the training can be resumed.
    """
    if isinstance(genotype, SearchRun):
        model = genotype.model if model is None else model
        loss = genotype.loss if loss is None else loss
    own = model_settings(model)
    if resume is not None:
        refuse_other_arguments(resume, genotype, data, out, overrides, settings)
        directory = run_directory("retrain", resume_directory(resume))
        with interrupts_as_keyboard_interrupt(), passed(model), passed_loss(loss):
            resume_command("retrain", directory)
        return RetrainRun(directory, model)
    directory = run_directory("retrain", out)
    recommended: list[str] = []
    if isinstance(genotype, SearchRun) and "task" not in settings:
        settings["task"] = genotype.config.task.name
    given = {**own, **data_settings(data, {**own, **settings}, overrides), **settings}
    if isinstance(genotype, SearchRun):
        if data is None and "dataset" not in settings:
            recommended = genotype.retrain_overrides()
        genotype = genotype.genotype
    if genotype is not None:
        try:
            _, found = find_genotype(str(genotype))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        given |= {"genotype": str(genotype), "space": settings.get("space", found.space)}
    with interrupts_as_keyboard_interrupt(), passed(model), passed_loss(loss):
        given_overrides = [*overrides_of(given, overrides), *loss_settings(loss)]
        arguments = merge_overrides([*recommended, *given_overrides])
        run_command("retrain", arguments, directory)
    return RetrainRun(directory, model)


def main() -> None:
    """Entry point of ``darts-retrain``."""
    launch("retrain", check, retrain, worthless=worthless_result)


make_callable(__name__, run)

if __name__ == "__main__":
    main()
