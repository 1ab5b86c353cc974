"""A run's data: from the data set of a configuration to batches for all that the run does."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from darts.data import SOURCES, load
from darts.spaces import SPACES
from darts.tasks import TASKS
from darts.training.distributed import Ranks


class SearchLoaders(NamedTuple):
    """What a search reads.

    Attributes:
        weights: batches that the weights learn from.
        alphas: batches that the alphas learn from.
        scored: all of the alphas' data, in order, as it is.
    """

    weights: Any
    alphas: Any
    scoring: Any


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """One of the tensors that networks take, for an export.

    Attributes:
        name: of it.
        shape: of an example.
        free: axes that may have any length, with a name each.
        below: tokens are numbers from 1 to it, itself not among them; None where any numbers go in.
        mean, std: what images are normalized by, channel by channel, in units of [0, 1].
    """

    name: str
    shape: tuple[int, ...]
    free: Mapping[int, str]
    below: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


class DataModule(ABC):
    """Makes the batches of one run.

    Args:
        config: of a search or a retraining.
        ranks: who take a share of each batch; they say where the batches go.

    Attributes:
        names: of what the task tells apart: classes, words, ...
        parts: by name, which training samples serve what, ``(n,)`` int64; for ``split.npz``.

    Raises:
        ValueError: in one line, when files are missing or damaged, or an option does not fit.
    """

    names: tuple[str, ...]
    target_noun: ClassVar[str] = "classes"  # what the names are

    def __init__(self, config: Any, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        self.subsets: dict[str, Tensor] = {}
        kind = data_kind(config)
        self.source: Any = ranks.local_main_first(
            lambda: load(config.dataset.name, kind=kind, **self.options())
        )

    def options(self) -> dict[str, Any]:
        """The loader's, out of the data set's configuration."""
        dataset = self.config.dataset
        fields = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)}
        return {name: value for name, value in fields.items() if name not in self.uses()}

    @classmethod
    def uses(cls) -> tuple[str, ...]:
        """Keys of the data set's configuration that say what is done with its samples."""
        return ("name", "subset")

    @abstractmethod
    def network_sizes(self, space: Any) -> dict[str, int]:
        """What networks of a space must know to fit the data."""

    @property
    @abstractmethod
    def sample_shape(self) -> tuple[int, ...]:
        """Of one sample, for ``Space.pieces``."""

    @abstractmethod
    def example_input(self) -> Tensor:
        """The smallest input of a network, by which its costs are told, on the device."""

    def input_specs(self) -> list[InputSpec]:
        """What discrete networks take; nothing where a forward pass does not make an answer."""
        return []

    @abstractmethod
    def search_loaders(self) -> SearchLoaders:
        """What a search reads; sets ``parts``."""

    @abstractmethod
    def retrain_loaders(self) -> tuple[Any, Any]:
        """Batches of a retraining, and those it is judged by or None; sets ``parts``."""

    @abstractmethod
    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> Any:
        """The ``test`` split, or the ``valid`` part of a retraining, in order; None without one.

        Args:
            part: which.
            parts: as the run has saved them.
        """

    def extra_files(self) -> dict[str, str]:
        """What belongs into the run's directory beside the usual, by name."""
        return {}


def data_kind(config: Any) -> str:
    """As what a configuration's data set is read: the first of its kinds that serves the task.

    Raises:
        ValueError: in one line that names what would do, when none does.
    """
    task, dataset = config.task, config.dataset.name
    kinds = SOURCES[dataset].kinds
    for kind in kinds:
        if kind in task.data_kinds:
            return kind
    tasks = [name for name in TASKS if set(kinds) & set(TASKS[name].data_kinds)]
    sets = [name for name, spec in SOURCES.items() if set(spec.kinds) & set(task.data_kinds)]
    raise ValueError(
        f"task={task.name} learns from {' or '.join(task.data_kinds)}, and dataset={dataset} is "
        f"{' or '.join(kinds)}; choose dataset={' or '.join(sets)}, or task={' or '.join(tasks)}"
    )


def check_data_kind(config: Any) -> None:
    """See, before anything is read, that task, data set and space belong together.

    Raises:
        ValueError: in one line that names what would do.
    """
    kind, space = data_kind(config), config.space
    if kind not in space.data_kinds:
        spaces = [name for name in SPACES if kind in SPACES[name].takes]
        raise ValueError(
            f"space={space.name} takes {' or '.join(space.data_kinds)}, and dataset="
            f"{config.dataset.name} is {kind}; choose space={' or '.join(spaces)}"
        )


def make_data_module(config: Any, ranks: Ranks) -> DataModule:
    """The data_module for a configuration's kind of data set."""
    from darts.data_modules.documents import DocumentDataModule
    from darts.data_modules.pairs import PairDataModule
    from darts.data_modules.samples import SampleDataModule
    from darts.data_modules.texts import TextDataModule

    data_modules: dict[str, type[DataModule]] = dict.fromkeys(
        ("images", "rows", "audio"), SampleDataModule
    )
    data_modules |= {
        "text": TextDataModule,
        "pairs": PairDataModule,
        "documents": DocumentDataModule,
    }
    return data_modules[data_kind(config)](config, ranks)
