"""The Python API: ``darts.search(...)`` does what ``darts search`` does.

``import darts`` provides these names. The modules of the commands, such as ``darts/search.py``,
are scripts that no other module imports. An import would replace the function ``darts.search`` by
the module, because Python binds a submodule to its name in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from darts.config import ConfigError, FindConfig, Invocation, RetrainConfig, compose, quoted
from darts.config.overrides import hydra_overrides
from darts.config.python_call import (
    Data,
    checks_names,
    data_settings,
    given_overrides,
    interrupts_as_keyboard_interrupt,
    loss_settings,
    model_settings,
    overrides_of,
    resume_directory,
    run_directory,
    without_defaults,
)
from darts.config.resumed_run import ResumedRun
from darts.recipes.commands import merge_overrides, resume_command, run_command
from darts.recipes.model import CompleteRun, Model
from darts.recipes.model import load as load
from darts.recipes.model import predict as predict
from darts.recipes.search_run import SearchRun as SearchRun
from darts.reporting import read_run
from darts.reporting.display import leaderboard
from darts.spaces import SPACES, AnyGenotype
from darts.spaces.lookup import find_genotype
from darts.spaces.module import Choice as Choice
from darts.spaces.module import InputChoice as InputChoice
from darts.spaces.module import Repeat as Repeat
from darts.spaces.module.targets import passed
from darts.tasks.sample_objective import Loss, passed_loss

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class RetrainRun(CompleteRun):
    """A complete retraining.

    Attributes:
        base: The model of the user's own whose genotype was trained, or None.
    """

    base: nn.Module | None = None

    def model(self) -> Model:
        """Return the trained network, see ``darts.load``."""
        return load(self.directory, base=self.base)


class FindRun(CompleteRun):
    """A complete run of ``darts.find``."""

    def model(self) -> Model:
        """Return the found network with its trained weights, see ``darts.load``."""
        return load(self.directory)

    @property
    def leaderboard(self) -> pandas.DataFrame:
        """The candidates, that with the best score first; ``candidates.csv`` has more columns."""
        import pandas

        return pandas.DataFrame(leaderboard(read_run(self.directory)))


@checks_names
def search(
    model: nn.Module | None = None,
    *,
    data: Data | None = None,
    method: str | None = None,
    space: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    label: str | None = None,
    loss: Loss | None = None,
    out: str | Path | None = None,
    resume: str | Path | SearchRun | None = None,
    overrides: Sequence[str] = (),
    **settings: object,
) -> SearchRun:
    """Search for an architecture, as ``darts search`` does.

    Args:
        model: A model of your own that contains choices; None for one of the other spaces.
        data: The name of a data set; the path of a table or a folder, whose kind is recognized; or
            training samples, or a pair of training and test samples. Samples are a pair ``(X, y)``
            of arrays or tensors, a PyTorch dataset of pairs ``(sample, target)``, a table of
            pandas, or a dataset of Hugging Face; see ``darts.data.torch_datasets.store`` for the
            values. Needed unless ``dataset`` or ``experiment`` is among the settings.
        method: How to search, such as "drnas"; by default "darts_v1".
        space: The architectures, such as "nas201"; by default "cnn" or one that takes the data.
        epochs: Length of the search; the default depends on data and method.
        seed: Of all random numbers; 0 by default.
        device: "cpu", "cuda", "cuda:N", "mps" or "auto", the default.
        label: Name of the column of the targets of a table; by default the last column.
        loss: Function of outputs ``(B, K)`` and targets that returns the mean loss, see
            ``darts.tasks.sample_objective.Loss``; by default the loss of the task.
        out: The run directory; by default a new one in ``runs/search``.
        resume: An interrupted search to continue; leave out all other arguments but ``model``
            and ``loss``.
        overrides: Configuration keys as on the command line, such as ``["space.channels=8"]``.
        **settings: Other configuration keys without a dot, such as ``task="regression"``.

    Raises:
        ValueError: For a wrong key or value, with the message of the command.
        TypeError: For an object that cannot be used as data.
        KeyboardInterrupt: After Ctrl-C; the checkpoint is saved, so the search can be resumed.
    """
    named = {"method": method, "space": space, "epochs": epochs, "seed": seed, "device": device}
    settings |= without_defaults(**named)
    own, overrides = model_settings(model), given_overrides(overrides)
    if resume is not None:
        directory = resume_directory(resume, data, label, out, overrides, settings)
        return SearchRun(_run("search", None, directory, model, loss), model, loss)
    given = {**own, **data_settings(data, {**own, **settings}, overrides, label=label), **settings}
    arguments = hydra_overrides("search", overrides_of(given, overrides))
    directory = _run("search", [*arguments, *loss_settings(loss)], out, model, loss)
    return SearchRun(directory, model, loss)


@checks_names
def retrain(
    genotype: AnyGenotype | SearchRun | str | Path | None = None,
    data: Data | None = None,
    *,
    epochs: int | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    label: str | None = None,
    model: nn.Module | None = None,
    loss: Loss | None = None,
    out: str | Path | None = None,
    resume: str | Path | RetrainRun | None = None,
    overrides: Sequence[str] = (),
    **settings: object,
) -> RetrainRun:
    """Train and score the network of a genotype, as ``darts retrain`` does.

    Args:
        genotype: A genotype; the name of a published one, its text, a JSON file or the directory of
            a search; or a ``SearchRun``, whose data set and recommended values are the defaults.
        data, label: As for ``darts.search``.
        epochs: Length of the training; the default depends on the data.
        seed: Of all random numbers; 0 by default.
        device: "cpu", "cuda", "cuda:N", "mps" or "auto", the default.
        model: The model of your own to which the genotype belongs; a ``SearchRun`` knows it.
        loss: As for ``darts.search``; by default the loss of the ``SearchRun``.
        out: The run directory; by default a new one in ``runs/retrain``.
        overrides: As for ``darts.search``.
        resume: An interrupted retraining to continue; leave out all other arguments but ``model``
            and ``loss``.
        **settings: Other configuration keys without a dot, such as ``precision="bf16"``. The space
            follows from the genotype.

    Raises:
        ValueError: For a wrong key or value, with the message of the command.
        TypeError: For an object that cannot be used as data.
        KeyboardInterrupt: After Ctrl-C; the checkpoint is saved, so the run can be resumed.
    """
    settings |= without_defaults(epochs=epochs, seed=seed, device=device)
    if isinstance(genotype, SearchRun):
        model = genotype.model if model is None else model
        loss = genotype.loss if loss is None else loss
    own, overrides = model_settings(model), given_overrides(overrides)
    if resume is not None:
        directory = resume_directory(resume, genotype, data, label, out, overrides, settings)
        return RetrainRun(_run("retrain", None, directory, model, loss), model)
    recommended: list[str] = []
    if isinstance(genotype, SearchRun):
        settings.setdefault("task", genotype.config.task.name)
        if data is None and "dataset" not in settings:
            recommended = genotype.retrain_overrides()
        genotype = genotype.genotype
    known = [*recommended, *overrides]
    given = {**own, **data_settings(data, {**own, **settings}, known, label=label), **settings}
    if genotype is not None:
        space = settings.get("space", find_genotype(str(genotype))[1].space)
        given |= {"genotype": str(genotype), "space": space}
    arguments = [*recommended, *overrides_of(given, overrides), *loss_settings(loss)]
    return RetrainRun(_run("retrain", merge_overrides(arguments), out, model, loss), model)


@checks_names
def find(
    data: Data | None = None,
    minutes: float | None = None,
    *,
    task: str | None = None,
    metric: str | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    workers: int | None = None,
    ensemble: int | None = None,
    label: str | None = None,
    out: str | Path | None = None,
    resume: str | Path | FindRun | None = None,
    overrides: Sequence[str] = (),
    **settings: object,
) -> FindRun:
    """Find the best network for a data set, as ``darts find`` does.

    The function starts worker processes, which do not execute the script that calls it.

    Args:
        data, label: As for ``darts.search``.
        minutes: The time budget; 10 minutes by default.
        task: What to learn, such as "regression"; by default it follows from a table or folder, or
            else is "classification".
        metric: What to optimize on validation data; by default the metric of the task.
        seed: Of all random numbers; 0 by default.
        device: "cpu", "cuda", "cuda:N", "mps" or "auto", the default.
        workers: Networks that train at the same time; by default one per GPU, or two on processors.
        ensemble: Largest number of networks whose predictions are averaged; 1 by default.
        out: The run directory; by default a new one in ``runs/find``.
        resume: An interrupted run to continue; leave out all other arguments but ``minutes``.
        overrides: Configuration keys as on the command line, such as ``["dataset.size=32"]``.
        **settings: Other configuration keys without a dot, such as ``export="onnx"``.

    Raises:
        ValueError: For a wrong key or value, with the message of the command.
        TypeError: For an object that cannot be used as data.
        KeyboardInterrupt: After Ctrl-C; the state is saved, so the run can be resumed.
    """
    from darts import find_command  # a program that only loads a network needs no race

    named = {"task": task, "metric": metric, "seed": seed, "device": device}
    settings |= without_defaults(**named, workers=workers, ensemble=ensemble)
    budget = {} if minutes is None else {"budget.minutes": minutes}
    overrides = given_overrides(overrides)
    if resume is None:
        found = data_settings(data, settings, overrides, label=label, chooses_space=True)
        arguments = overrides_of({**found, **budget, **settings}, overrides)
        config: FindConfig = compose("find", arguments)
    else:
        out = resume_directory(resume, data, label, out, overrides, settings)
        saved = ResumedRun.load("find", str(out))
        changes = overrides_of({**budget, "budget.hours": None}) if budget else []
        config = compose("find", changes, saved)
        config.resume = str(saved.directory)
        arguments = list(saved.recorded_overrides)
    find_command.check(config)
    with run_directory("find", out) as directory, interrupts_as_keyboard_interrupt():
        find_command.find(config, Invocation(directory, tuple(arguments)))
    return FindRun(directory)


@checks_names
def create_model(
    genotype: str | AnyGenotype,
    *,
    classes: int = 10,
    in_channels: int = 3,
    auxiliary: bool = False,
    drop_path: float = 0.0,
    **sizes: object,
) -> nn.Module:
    """Return an untrained network that classifies images or rows.

    Args:
        genotype: A published name such as "DARTS_V2", see ``darts genotypes``; the text
            of a genotype; or the run directory or file that contains it.
        classes: Number of classes.
        in_channels: Channels of the images, or numbers of a row.
        auxiliary: Whether the network has an auxiliary head for its training.
        drop_path: Probability of dropping an edge of a cell in the training; the attribute
            ``drop_path`` of the network changes it.
        **sizes: Settings of the space, for example ``channels=16, cells=8, stem="imagenet"``. By
            default the settings of a retraining on CIFAR-10, which a published cell has from its
            paper.

    Shape: ``(B, in_channels, H, W)``, or ``(B, in_channels, 1, 1)`` for rows -> logits
    ``(B, classes)``.

    Raises:
        ValueError: If there is no such genotype, or a wrong setting; the message has one line.
    """
    parsed = find_genotype(str(genotype))[1]
    name = parsed.space
    if not {"images", "rows"} & set(SPACES[name].data_kinds) or name == "module":
        raise ConfigError(
            f"genotype={str(genotype)!r} belongs to space={name}; create_model makes networks for "
            "images and rows only"
        )
    keys = [] if name == "mlp" else ["dataset=cifar10"]  # the sizes that papers use
    keys += overrides_of({f"space.{key}": value for key, value in sizes.items()})
    keys += [f"genotype={quoted(str(parsed))}", f"space={name}"]
    space = cast("RetrainConfig", compose("retrain", keys)).space
    options = {"classes": classes, "in_channels": in_channels}
    for key, value in options.items():
        if not isinstance(value, Integral) or value < 1:
            raise ConfigError(f"{key}={value!r}: must be an integer >= 1")
    return space.network(parsed, **options, auxiliary=auxiliary, drop_path=drop_path).plain()


def _run(
    command: str,
    arguments: Sequence[str] | None,
    directory: str | Path | None,
    model: nn.Module | None,
    loss: Loss | None,
) -> Path:
    """Run a command, or without arguments resume the run in the directory, which is returned."""
    with (
        run_directory(command, directory) as folder,
        interrupts_as_keyboard_interrupt(),
        passed(model),
        passed_loss(loss),
    ):
        if arguments is None:
            resume_command(command, folder)
        else:
            run_command(command, arguments, folder)
    return folder
