"""The interface of data modules, and what all of them share."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from darts.config import RetrainConfig, SearchConfig
from darts.data import InputSpec, Loader, load
from darts.data_modules.compatibility import data_kind
from darts.registry import Registry
from darts.spaces import Space
from darts.training.distributed import Ranks

DATA_MODULES: Registry[DataModule] = Registry("data module", "darts.data_modules")


class SearchLoaders(NamedTuple):
    """Loaders of a search.

    Attributes:
        weights: training batches of the weights.
        alphas: training batches of the alphas.
        scoring: all samples that measure the supernet, in order, without augmentation.
    """

    weights: Loader
    alphas: Loader
    scoring: Loader


class DataModule(ABC):
    """Loads a data set and makes the loaders of one run.

    Subclasses register themselves in ``DATA_MODULES``.

    Args:
        config: configuration of a search or a retraining.
        ranks: processes of the run. Each takes its share of every batch, on its own device.

    Attributes:
        name: name in the registry.
        data_kinds: kinds of data sets that the class handles, see ``darts.data.SourceSpec``.
        target_noun: what the targets are, in the plural.
        sample_noun: what the samples are, in the plural.
        source: the data set.
        target_names: names of the targets by index, for example of the classes.
        subsets: int64 indices ``(n,)`` of the samples of each subset, for ``split.npz``.

    Raises:
        ValueError: if files are missing or damaged, or an option does not fit the data.
    """

    name: ClassVar[str]
    data_kinds: ClassVar[tuple[str, ...]]
    target_noun: ClassVar[str] = "classes"
    sample_noun: ClassVar[str] = "samples"
    source: object
    target_names: tuple[str, ...]

    def __init__(self, config: SearchConfig | RetrainConfig, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        self.subsets: dict[str, Tensor] = {}
        kind = data_kind(config)
        self.source = ranks.local_main_first(
            lambda: load(config.dataset.name, kind=kind, **self.source_options())
        )

    def source_options(self) -> dict[str, Any]:
        """Return the options of the configured data set that ``darts.data.load`` takes."""
        dataset = self.config.dataset
        keys = [field.name for field in dataclasses.fields(dataset)]
        return {key: getattr(dataset, key) for key in keys if key not in self.loader_keys()}

    @classmethod
    def loader_keys(cls) -> tuple[str, ...]:
        """Return the keys of a data set's configuration that the data module itself uses."""
        return ("name", "subset")

    @abstractmethod
    def network_sizes(self, space: Space) -> dict[str, int]:
        """Return the sizes that a network of the space takes from the data, as keywords."""

    @property
    @abstractmethod
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without a batch axis."""

    @abstractmethod
    def example_input(self) -> Tensor:
        """Return the smallest network input, on the device, for measuring costs."""

    def input_specs(self) -> list[InputSpec]:
        """Return the inputs of an exported network; empty if networks cannot be exported."""
        return []

    @abstractmethod
    def search_loaders(self) -> SearchLoaders:
        """Return the loaders of a search; set ``subsets``."""

    @abstractmethod
    def retrain_loaders(self) -> tuple[Loader, Loader | None]:
        """Return the training loader and the validation loader, if any; set ``subsets``."""

    @abstractmethod
    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> Loader | None:
        """Return all samples of a split in order, without augmentation; None if it is empty.

        Args:
            split: ``test``, or ``valid`` for the validation split of a retraining.
            subsets: the subsets that the run saved.
        """

    def extra_files(self) -> dict[str, str]:
        """Return the text of further files for the run directory, by file name."""
        return {}

    def eval_batch_size(self) -> int:
        """Return this rank's share of ``loader.eval_batch_size``, rounded up."""
        return -(-self.config.loader.eval_batch_size // self.ranks.size)

    def subset_size(self, count: int) -> int | None:
        """Return ``dataset.subset``; None stands for all training samples.

        Args:
            count: number of training samples.

        Raises:
            ValueError: if the subset is larger.
        """
        subset = self.config.dataset.subset
        if subset is not None and subset > count:
            raise ValueError(
                f"dataset.subset={subset} is more than the {count} training {self.sample_noun} of "
                f"{self.config.dataset.name}; set dataset.subset=null to use all"
            )
        return subset

    def check_not_empty(self, subsets: list[Tensor], key: str) -> None:
        """Check that a division of the training samples leaves no subset empty.

        Args:
            subsets: the resulting subsets.
            key: setting that determines the division, as ``key=value``.

        Raises:
            ValueError: if a subset is empty.
        """
        if not all(len(subset) for subset in subsets):
            count = sum(len(subset) for subset in subsets)
            raise ValueError(
                f"{key} of {count} training {self.sample_noun} leaves a subset empty; use more "
                f"{self.sample_noun} or a share closer to 0.5"
            )

    def refuse_cutout(self, cutout: int) -> None:
        """Raise ValueError if cutout is on: only images have squares to erase."""
        if cutout:
            raise ValueError(
                f"cutout={cutout} erases a square of an image, but dataset="
                f"{self.config.dataset.name} contains no images; set cutout=0"
            )
