"""Base class and factory of data modules."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from darts.config import RetrainConfig, SearchConfig
from darts.data import Batch, InputSpec, Loader, load, sources
from darts.data.encodings import Encoding
from darts.data.loader import LoaderOptions
from darts.data.split import Groups
from darts.data.targets import CLASSES, TargetScale
from darts.data_modules.compatibility import data_kind
from darts.registry import Registry
from darts.spaces import Space
from darts.tasks.task import Objective, ObjectiveSpec
from darts.training.distributed import Ranks

DATA_MODULES: Registry[DataModule] = Registry("data module", "darts.data_modules")

# Keys of configured data sets that `load` takes, in addition to the options of the data set.
_LOAD_KEYS = ("root", "download", "verify", "size", "storage")


class SearchLoaders(NamedTuple):
    """Loaders of a search."""

    for_weights: Loader  # batches of weight steps
    for_alphas: Loader  # batches of architecture steps
    scoring: Loader  # validation samples for scores, in a fixed order, without augmentation

    def calibration(self, batches: int, epoch: int = 0) -> list[Batch]:
        """Return the first training batches of an epoch, for the statistics of batch norm."""
        steps = range(min(batches, len(self.for_weights)))
        return [self.for_weights.batch(epoch, step) for step in steps]


# What each subset is for, by name.
_USES = {
    "weights": "the weights",
    "alphas": "the alphas",
    "train": "training",
    "valid": "validation",
    "test": "test",
}


class DataModule(ABC):
    """Loads a data set and makes the loaders of one run.

    Subclasses register themselves in ``DATA_MODULES``. Each rank takes its share of every batch.

    Attributes:
        data_kinds: Kinds of data sets that the class handles, see ``darts.data.source.SourceSpec``.
        target_noun, sample_noun: Plural nouns for targets and samples in messages and logs.
        source: The loaded data set.
        target_scale: How the targets are standardized, if they are numbers.
        encoding: How rows of a table or texts become inputs of the network; None for other data.
        unlabeled: Test samples without targets, for which ``darts find`` predicts; or None.
        groups: Groups of training samples that no subset divides; None for none.
        subsets: Indices of the samples of each subset, ``(n,)`` int64, for ``split.npz``.
    """

    name: ClassVar[str]
    data_kinds: ClassVar[tuple[str, ...]]
    target_noun: ClassVar[str] = "classes"
    sample_noun: ClassVar[str] = "samples"
    source: object

    def __init__(self, config: SearchConfig | RetrainConfig, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        self.subsets: dict[str, Tensor] = {}
        self.source = source = _load_source(config, ranks)
        # Some kinds of data sets have these.
        self.target_scale: TargetScale | None = getattr(source, "scale", None)
        self.encoding: Encoding | None = getattr(source, "encoding", None)
        self.unlabeled: Tensor | None = getattr(source, "unlabeled", None)
        self.groups: Groups | None = getattr(source, "groups", None)

    @property
    @abstractmethod
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets by index, for example of the classes."""

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        """Number of training samples of each class; None for other targets."""
        return None

    def objective(self, label_smoothing: float = 0.0, auxiliary: float = 0.0) -> Objective:
        """Return the objective of the task for this data, see ``ObjectiveSpec``."""
        spec = ObjectiveSpec(
            self.target_names, label_smoothing, auxiliary, self.target_scale, self.class_counts
        )
        return self.config.task.make_objective(spec)

    @abstractmethod
    def network_sizes(self, space: Space) -> dict[str, int]:
        """Return the keyword arguments of networks that depend on the data, such as ``classes``."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without a batch axis; by default, a token, which is a scalar."""
        return ()

    def example_input(self) -> Tensor:
        """Return an input of one sample, as small as possible, on the device, to measure costs.

        By default, it is a text of one word.
        """
        return torch.ones(1, 1, dtype=torch.int64, device=self.ranks.device)

    def input_specs(self) -> list[InputSpec]:
        """Return the inputs of an exported network; empty if networks cannot be exported."""
        return []

    @abstractmethod
    def training_loader(self, indices: Tensor, name: str) -> Loader:
        """Return shuffled, augmented batches of the training samples ``indices``, ``(n,)`` int64.

        ``name`` is the name of the loader, see ``LoaderOptions``.
        """

    @abstractmethod
    def search_loaders(self) -> SearchLoaders:
        """Return the loaders of a search; set ``subsets``."""

    def _loaders_of_subsets(
        self, weight_indices: Tensor, alpha_indices: Tensor, scoring: Loader
    ) -> SearchLoaders:
        """Return the loaders for two subsets of the training samples; set ``subsets``.

        Both are the indices of the samples, ``(n,)`` int64.
        """
        self.subsets = {"weights": weight_indices, "alphas": alpha_indices}
        for_weights = self.training_loader(weight_indices, "weights")
        for_alphas = self.training_loader(alpha_indices, "alphas")
        return SearchLoaders(for_weights, for_alphas, scoring)

    def retrain_loaders(self) -> tuple[Loader, Loader | None]:
        """Return the training loader and, unless ``validation=0``, the validation loader.

        Set ``subsets``.
        """
        config = self.config
        assert isinstance(config, RetrainConfig)
        self.subsets = self._retrain_subsets(config)
        loader = self.training_loader(self.subsets["train"], "train")
        if config.validation > 0:
            return loader, self.held_out_loader("valid", self.subsets)
        return loader, None

    def _retrain_subsets(self, config: RetrainConfig) -> dict[str, Tensor]:
        """Return the subsets of a retraining; by default all samples of the training split."""
        if config.validation_fold is not None:
            raise ValueError(
                f"validation_fold={config.validation_fold} selects a part of the training samples, "
                f"but dataset={config.dataset.name} has a validation split; leave it out"
            )
        return {"train": self._training_indices()}

    @abstractmethod
    def _training_indices(self) -> Tensor:
        """Return the indices of all training samples or of ``dataset.subset``, ``(n,)`` int64."""

    @abstractmethod
    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> Loader | None:
        """Return a loader of a split in a fixed order, without augmentation; None if it is missing.

        ``split`` is "test", or "valid" for the validation split of a retraining. ``subsets`` are
        those that the run saved.
        """

    def scored_targets(self, split: str) -> Tensor | None:
        """Return all targets whose predictions give the scores; None if they are unknown.

        Targets are classes, words or tokens ``(n,)`` int64, or labels or numbers ``(n, K)``
        float32. ``split`` is "valid" or "test". Call it after ``search_loaders`` or
        ``retrain_loaders``.
        """
        return None

    def subset_classes(self) -> dict[str, Tensor]:
        """Return the class of each sample by subset, ``(n,)`` int64; empty without classes."""
        return {}

    def describe(self) -> str:
        """Return name, size and shape of the data in one line; after the loaders were made."""
        (first, count), *others = self.subset_sizes().items()
        sizes = [f"{count:,} {self.sample_noun} for {_USES[first]}"]
        sizes += [f"{count:,} for {_USES[name]}" for name, count in others]
        targets = f"{len(self.target_names):,} {self.target_noun}"
        if self.config.task.targets != CLASSES:
            shown = ", ".join(self.target_names[:3])
            more = len(self.target_names) - 3
            targets = f"predicts {shown}{f' and {more:,} more' if more > 0 else ''}"
        parts = (", ".join(sizes), targets, self._describe_shape())
        return f"{self.config.dataset.name}: {'; '.join(part for part in parts if part)}"

    def overview(self) -> dict[str, str]:
        """Return rows of a table for users: the splits, the targets and the shape of a sample.

        Call it after the loaders were made.
        """
        held_out = {split: self.scored_targets(split) for split in ("valid", "test")}
        sizes = {split: len(own) for split, own in held_out.items() if own is not None}
        counts = {_USES[name]: n for name, n in {**self.subset_sizes(), **sizes}.items()}
        is_class = self.config.task.targets == CLASSES
        return {
            "data set": self.config.dataset.name,
            **{name: f"{count:,} {self.sample_noun}" for name, count in counts.items()},
            self.target_noun if is_class else "targets": self._describe_targets(),
            "each sample": self._describe_shape() or "of any length",
        }

    def _describe_targets(self) -> str:
        """Return how many targets there are, and what they are, for ``overview``."""
        return f"{len(self.target_names):,}"

    def notes(self) -> list[str]:
        """Return lines about the data that a user should read before the training."""
        return []

    def subset_sizes(self) -> dict[str, int]:
        """Return the number of samples of each subset, by name."""
        return {name: len(indices) for name, indices in self.subsets.items()}

    def _describe_shape(self) -> str:
        """Return the shape of a sample for ``describe``; empty if samples have several shapes."""
        return ""

    @property
    def vocabulary(self) -> object:
        """The content of ``vocabulary.json`` in the run directory; None for no such file."""
        return None

    def extra_files(self) -> dict[str, str]:
        """Return the text of further files for the run directory, by file name."""
        if self.vocabulary is None:
            return {}
        text = json.dumps(self.vocabulary, ensure_ascii=False, indent=0)
        return {"vocabulary.json": text + "\n"}

    def loader_options(self, name: str, *, training: bool) -> LoaderOptions:
        """Return the options of the loader ``name``.

        All ranks share the batches of training. In evaluation, each rank loads its own share of the
        split.
        """
        loader, ranks = self.config.loader, self.ranks
        return LoaderOptions(
            batch_size=loader.batch_size if training else -(-loader.eval_batch_size // ranks.size),
            seed=self.config.seed,
            name=name,
            shuffle=training,
            drop_last=training,
            device=ranks.device,
            rank=ranks.rank if training else 0,
            ranks=ranks.size if training else 1,
        )

    def subset_size(self, count: int) -> int | None:
        """Return ``dataset.subset``; None stands for all ``count`` training samples."""
        subset = self.config.dataset.subset
        if subset is not None and subset > count:
            raise ValueError(
                f"dataset.subset={subset} is more than the {count} training {self.sample_noun} of "
                f"{self.config.dataset.name}; set dataset.subset=null to use all"
            )
        return subset

    def check_not_empty(self, subsets: list[Tensor], key: str) -> None:
        """Raise ValueError if the setting ``key``, as "key=value", leaves a subset empty."""
        if not all(len(subset) for subset in subsets):
            count = sum(len(subset) for subset in subsets)
            raise ValueError(
                f"{key} of {count} training {self.sample_noun} leaves a subset empty; use more "
                f"{self.sample_noun}, or set {key.partition('=')[0]} closer to 0.5"
            )


def load_options(config: SearchConfig | RetrainConfig) -> dict[str, Any]:
    """Return the settings of a data set that decide what is loaded, by name."""
    dataset = config.dataset
    names = {field.name for field in dataclasses.fields(sources()[dataset.name].options)}
    names.update(_LOAD_KEYS)
    return {name: value for name, value in vars(dataset).items() if name in names}


# Loaded data sets by their options, within `keep_data`.
_kept: dict[str, object] | None = None


@contextmanager
def keep_data() -> Iterator[None]:
    """Load each data set once in a block; changes of its files are not noticed in the meantime."""
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        _kept = before


def make_data_module(config: SearchConfig | RetrainConfig, ranks: Ranks) -> DataModule:
    """Return the data module for the configured data set."""
    kind = data_kind(config)
    module = next(own for own in DATA_MODULES.values() if kind in own.data_kinds)
    return module(config, ranks)


def _load_source(config: SearchConfig | RetrainConfig, ranks: Ranks) -> object:
    """Return the configured data set; within ``keep_data``, the same one again."""
    options = {"kind": data_kind(config), "targets": config.task.targets, **load_options(config)}
    name, kept = config.dataset.name, {} if _kept is None else _kept
    key = f"{name} {options}"
    if key not in kept:
        kept[key] = ranks.local_main_first(lambda: load(name, **options))
    return kept[key]
