"""The arguments ``data`` and ``model`` of the Python functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from torch import nn
from torch.utils.data import Dataset

from darts.config import ConfigError, values_of
from darts.data.torch_datasets import store
from darts.spaces.module import target_of
from darts.tasks import TASKS
from darts.tasks.own_loss import Loss

Data: TypeAlias = "str | Dataset[object] | tuple[Dataset[object], Dataset[object] | None]"
"""Name of a data set; or training samples, or training and test samples."""


def data_settings(
    data: Data | None,
    settings: Mapping[str, object],
    overrides: Sequence[str] = (),
    *,
    chooses_space: bool = False,
) -> dict[str, object]:
    """Return the configuration keys of a data set; PyTorch datasets are stored on disk.

    Args:
        data: See ``Data``; None for the default data set, or the one in ``settings``.
        settings: The other keys that the user gives.
        overrides: The overrides that the user gives; the last ``task=`` counts.
        chooses_space: Whether the command chooses the space itself.

    Raises:
        ConfigError: If ``settings`` names a data set, too, or the samples cannot be used.
    """
    if data is None:
        return {}
    if "dataset" in settings:
        raise ConfigError("data and dataset exclude each other; use one of them")
    if isinstance(data, str):
        return {"dataset": data}
    if not isinstance(data, tuple | list):
        data = (data, None)
    if len(data) != 2:
        raise ConfigError(
            f"data has {len(data)} entries; must be a dataset, or training and test samples"
        )
    try:
        name = str(settings.get("task", "classification"))
        task = TASKS[[name, *values_of("task", overrides)][-1]]
        stored = store(*data, targets=task.targets)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    found: dict[str, object] = {"dataset": stored.name, "dataset.root": stored.root}
    if stored.labels:
        found["dataset.labels"] = list(stored.labels)
    if stored.name == "csv" and "space" not in settings and not chooses_space:
        found["space"] = "mlp"  # the space for rows of numbers
    return found


def model_settings(model: nn.Module | None) -> dict[str, object]:
    """Return the configuration keys of a model of the user's own.

    Raises:
        ConfigError: If the model is not a module.
    """
    if model is None:
        return {}
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model={model!r}: must be a torch.nn.Module; give a data set as data={model!r}"
        )
    return {"space": "module", "space.target": target_of(model)}


def loss_settings(loss: Loss | None) -> list[str]:
    """Return the overrides for a loss function of the user's own; none without one.

    Raises:
        ConfigError: If the loss cannot be called.
    """
    if loss is None:
        return []
    if not callable(loss):
        raise ConfigError(f"loss={loss!r}: must be a function of outputs and targets")
    return ["task.loss=own"]


def refuse_other_arguments(resume: object, *given: object) -> None:
    """Refuse settings of a run that is resumed, because it keeps its own.

    Raises:
        ConfigError: If one of the arguments is given.
    """
    if any(value is not None and value != () and value != {} for value in given):
        raise ConfigError(
            f"resume={str(resume)!r}: a resumed run keeps its settings; leave out the other "
            "arguments"
        )
