"""Data sets whose samples have one class each, or other targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Generic

import torch
from torch import Tensor

from darts.config import RetrainConfig, SearchConfig
from darts.data import Loader, SampleBatch
from darts.data.loader import PositionLoader, rank_slice
from darts.data.source import LabeledSource, Split
from darts.data.split import stratified_fold, stratified_split, stratified_subset
from darts.data.targets import strata as strata_of
from darts.data_modules.data_module import DataModule, SearchLoaders

# Classes or targets that a message names.
SHOWN = 8

# Ratio of the largest to the smallest class above which users get a note.
UNBALANCED = 3


class LabeledDataModule(DataModule, Generic[Split]):
    """Base class of data modules with a target per sample.

    Subsets are stratified by class, or by ``darts.data.targets.strata``, unless the data has groups
    that belong together.

    A search trains the weights on one subset and the alphas on the other. A retraining holds out a
    validation subset, unless the data set has a validation split.
    """

    source: LabeledSource[Split]

    @property
    def target_names(self) -> tuple[str, ...]:
        return self.source.classes

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        labels = self.source.train.labels
        if labels.ndim > 1:
            return None
        return tuple(torch.bincount(labels, minlength=len(self.target_names)).tolist())

    def _describe_targets(self) -> str:
        names, counts = self.target_names, self.class_counts
        if counts is not None:
            names = tuple(f"{n} ({count:,})" for n, count in zip(names, counts, strict=True))
        return f"{len(names):,}: {', '.join(names[:SHOWN])}{', ...' if names[SHOWN:] else ''}"

    def notes(self) -> list[str]:
        """Return a line if classes have no samples, or are unbalanced."""
        counts = self.class_counts
        if counts is None:
            return []
        if not min(counts):
            names = zip(self.target_names, counts, strict=True)
            empty = ", ".join([repr(name) for name, count in names if not count][:SHOWN])
            return [
                f"no training sample has the class {empty}: classes are the numbers from 0 to the "
                "largest label"
            ]
        if max(counts) < UNBALANCED * min(counts):
            return []
        most, least = (self.target_names[counts.index(own(counts))] for own in (max, min))
        times = f"{max(counts) / min(counts):.0f} times"
        return [
            f"the class {most!r} has {times} as many training samples as {least!r}; "
            f"metric={self.config.metric} decides. metric=balanced_accuracy would count all "
            "classes equally, and task.class_weights=balanced would weigh them equally in training"
        ]

    @abstractmethod
    def split_loader(
        self, split: Split, indices: Tensor, name: str, *, training: bool
    ) -> PositionLoader[SampleBatch]:
        """Return batches of the samples ``indices`` of a split, ``(n,)`` int64.

        In training they are shuffled and augmented; otherwise they have a fixed order.
        """

    def training_loader(self, indices: Tensor, name: str) -> PositionLoader[SampleBatch]:
        return self.split_loader(self.source.train, indices, name, training=True)

    def evaluation_loader(
        self, split: Split, indices: Tensor | None = None
    ) -> PositionLoader[SampleBatch]:
        """Return batches of a split, or of its samples ``indices`` ``(n,)`` int64, for evaluation.

        Each rank gets a share of the samples, not of each batch.
        """
        ranks = self.ranks.size
        indices = torch.arange(len(split.labels)) if indices is None else indices
        if len(indices) < ranks:
            raise ValueError(
                f"{len(indices)} samples to evaluate cannot be shared by {ranks} ranks; use "
                "fewer ranks"
            )
        share = indices[rank_slice(len(indices), self.ranks.rank, ranks)]
        return self.split_loader(split, share, "evaluation", training=False)

    def search_loaders(self) -> SearchLoaders:
        """Return loaders of two stratified subsets; the one for the alphas also gives scores.

        With ``train_portion=1``, both subsets are the whole training split.
        """
        assert isinstance(self.config, SearchConfig)
        share = self.config.train_portion
        if share == 1:
            weights = alphas = self._training_indices()
        else:
            weights, alphas = self._divide(share, f"train_portion={share}")
        scoring = self.evaluation_loader(self.source.train, alphas)
        return self._loaders_of_subsets(weights, alphas, scoring)

    def _retrain_subsets(self, config: RetrainConfig) -> dict[str, Tensor]:
        share, fold = config.validation, config.validation_fold
        if not share > 0 or self.source.valid is not None:
            return super()._retrain_subsets(config)
        key = f"validation={share}"
        if fold is None:
            train, valid = self._divide(1 - share, key)
        else:
            indices = self._training_indices()
            if self.groups is None:
                parts = stratified_fold(self._strata[indices], share, fold, seed=config.seed)
            else:
                parts = self.groups.at(indices).fold(share, fold, seed=config.seed)
            self.check_not_empty(parts, key)
            train, valid = (indices[part] for part in parts)
        return {"train": train, "valid": valid}

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> Loader | None:
        held_out = self.source.test if split == "test" else self.source.valid
        if held_out is not None:
            return self.evaluation_loader(held_out)
        if split == "valid" and "valid" in subsets:
            count, indices = len(self.source.train.labels), subsets["valid"]
            if len(indices) and int(indices.max()) >= count:
                raise ValueError(
                    f"the split of the run has the sample {int(indices.max())}, but "
                    f"dataset={self.config.dataset.name} has only {count} training samples; "
                    "evaluate with the data set of the run"
                )
            return self.evaluation_loader(self.source.train, indices)
        return None

    def scored_targets(self, split: str) -> Tensor | None:
        """Return the labels of the test split, or of the samples that give validation scores."""
        held_out = self.source.test if split == "test" else self.source.valid
        subset = next((name for name in ("alphas", "valid") if name in self.subsets), None)
        if split == "valid" and subset is not None:
            return self.source.train.labels[self.subsets[subset]]
        return None if held_out is None else held_out.labels

    def subset_classes(self) -> dict[str, Tensor]:
        labels = self.source.train.labels
        if labels.ndim > 1:
            return {}
        return {name: labels[indices] for name, indices in self.subsets.items()}

    def _training_indices(self) -> Tensor:
        strata = self._strata
        subset = self.subset_size(len(strata))
        if subset is None:
            return torch.arange(len(strata))
        return stratified_subset(strata, subset, seed=self.config.seed)

    @property
    def _strata(self) -> Tensor:
        """The stratum of each training sample, ``(N,)`` int64."""
        return strata_of(self.source.train.labels)

    def _divide(self, share: float, key: str) -> list[Tensor]:
        """Divide the training samples into two subsets; the first gets the share.

        ``key`` is the setting of the share, as "key=value", for the error message.
        """
        indices = self._training_indices()
        if self.groups is None:
            strata = self._strata[indices]
            subsets = stratified_split(strata, [share, 1 - share], seed=self.config.seed)
        else:
            subsets = self.groups.at(indices).split(1 - share, seed=self.config.seed)
        self.check_not_empty(subsets, key)
        return [indices[subset] for subset in subsets]
