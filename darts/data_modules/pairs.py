"""Pairs of a source and a target sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from darts.config import RetrainConfig, SearchConfig
from darts.data import PairLoader, Pairs, SentencePairs
from darts.data.randomness import permutation
from darts.data.words import PADDING
from darts.data_modules.data_module import DATA_MODULES, DataModule, SearchLoaders
from darts.spaces import Space
from darts.training.distributed import Ranks


@DATA_MODULES.register
class PairDataModule(DataModule):
    """Batches of ``Pairs``. A search divides the training split into two subsets."""

    name = "pairs"
    data_kinds = ("pairs",)
    target_noun = "words"
    sample_noun = "pairs"
    source: Pairs

    def __init__(
        self, config: SearchConfig | RetrainConfig, ranks: Ranks, source: object | None = None
    ) -> None:
        super().__init__(config, ranks, source)
        self.target_names = self.source.target_vocabulary.words

    def network_sizes(self, space: Space) -> dict[str, int]:
        """Return the sizes of both vocabularies, and whether they are the same (``joint``)."""
        source, target = self.source.source_vocabulary, self.source.target_vocabulary
        return {"sources": len(source), "targets": len(target), "joint": source is target}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Not available: only cost penalties use it, and these do not support sentence pairs.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"penalty: the cost of a cell does not depend on its operations for "
            f"task={self.config.task.name}; leave penalty out"
        )

    def example_input(self) -> Tensor:
        """Return a sentence of one word, ``(1, 1)``."""
        return torch.full((1, 1), PADDING + 1, device=self.ranks.device)

    def search_loaders(self) -> SearchLoaders:
        """Return loaders of two random subsets; the validation split gives the scores.

        With ``train_portion=1``, both subsets are the whole training split.
        """
        assert isinstance(self.config, SearchConfig)
        share = self.config.train_portion
        self.refuse_cutout(self.config.cutout)
        indices = self._training_indices()
        order = indices[permutation(len(indices), self.config.seed, "split")]
        count = round(share * len(order))
        weights, alphas = order[:count], order[count:] if share < 1 else order
        self.check_not_empty([weights, alphas], f"train_portion={share}")
        self.subsets = {"weights": weights, "alphas": alphas}
        return SearchLoaders(
            self._training_loader(weights, "weights"),
            self._training_loader(alphas, "alphas"),
            self._evaluation_loader(self.source.valid),
        )

    def retrain_loaders(self) -> tuple[PairLoader, PairLoader | None]:
        """Return the training loader and, unless ``validation=0``, the validation loader."""
        config = self.config
        assert isinstance(config, RetrainConfig)
        self.refuse_cutout(config.cutout)
        self.refuse_fold(config.validation_fold)
        self.subsets = {"train": self._training_indices()}
        valid = self._evaluation_loader(self.source.valid) if config.validation > 0 else None
        return self._training_loader(self.subsets["train"], "train"), valid

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> PairLoader:
        """Return a loader of the test split or of the validation split."""
        return self._evaluation_loader(self.source.test if split == "test" else self.source.valid)

    def scored_targets(self, split: str) -> Tensor:
        """Return the words of all target sentences; the end mark of each sentence is included."""
        targets = (self.source.test if split == "test" else self.source.valid).targets
        return targets[targets != PADDING]

    def extra_files(self) -> dict[str, str]:
        """Return ``vocabulary.json``, the words of both sides by index."""
        words = {
            "source": self.source.source_vocabulary.words,
            "target": self.source.target_vocabulary.words,
        }
        return {"vocabulary.json": json.dumps(words, ensure_ascii=False, indent=0) + "\n"}

    def _training_indices(self) -> Tensor:
        """Return indices of all training pairs or of a random subset, ``(n,)`` int64."""
        count = len(self.source.train)
        subset = self.subset_size(count)
        if subset is None:
            return torch.arange(count)
        return permutation(count, self.config.seed, "subset")[:subset].sort().values

    def _training_loader(self, indices: Tensor, name: str) -> PairLoader:
        options = self.loader_options(name, training=True)
        return PairLoader(self.source.train, indices, **options)

    def _evaluation_loader(self, split: SentencePairs) -> PairLoader:
        """Return batches of pairs of similar length.

        Each rank gets a share of the split, not of each batch.
        """
        share = torch.arange(self.ranks.rank, len(split), self.ranks.size)
        return PairLoader(split, share, **self.loader_options("evaluation", training=False))
