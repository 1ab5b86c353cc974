"""Pairs of sentences in batches of similar length."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from darts.data import PairLoader, Pairs, Sentences
from darts.data.randomness import permutation
from darts.data.words import PADDING
from darts.data_modules.data_module import DataModule, SearchLoaders
from darts.training.distributed import Ranks


class PairDataModule(DataModule):
    """Batches of ``Pairs``; the parts are its publisher's, and a search cuts the first in two."""

    source: Pairs
    target_noun: ClassVar[str] = "words"

    def __init__(self, config: Any, ranks: Ranks) -> None:
        super().__init__(config, ranks)
        self.target_names = self.source.target.words

    def network_sizes(self, space: Any) -> dict[str, int]:
        """``sources`` and ``targets``: how many words there are; ``joint``: whether the same."""
        source, target = self.source.source, self.source.target
        return {"sources": len(source), "targets": len(target), "joint": source is target}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Costs of a sentence are not known apart by candidate.

        Raises:
            ValueError: always, in one line.
        """
        raise ValueError(
            f"penalty: what a cell costs does not depend on its operations for "
            f"task={self.config.task.name}; leave penalty out"
        )

    def example_input(self) -> Tensor:
        """A sentence of one word, ``(1, 1)``."""
        return torch.full((1, 1), PADDING + 1, device=self.ranks.device)

    def search_loaders(self) -> SearchLoaders:
        """One part of the training pairs for the weights, the other for the alphas."""
        config, train = self.config, self.source.train
        order = self._indices()[permutation(len(self._indices()), config.seed, "split")]
        count = round(config.train_portion * len(order))
        if not 0 < count < len(order):
            raise ValueError(
                f"train_portion={config.train_portion} of {len(order)} training pairs leaves a part without any; "
                "take more pairs or a share nearer to 0.5"
            )
        self.subsets = {"weights": order[:count], "alphas": order[count:]}
        return SearchLoaders(
            self._training(train, order[:count], "weights"),
            self._training(train, order[count:], "alphas"),
            self._evaluation(self.source.valid),
        )

    def retrain_loaders(self) -> tuple[PairLoader, PairLoader | None]:
        """The training pairs, and the validation part unless ``validation=0``."""
        if self.config.cutout:
            raise ValueError(
                f"cutout={self.config.cutout} erases a part of an image, and a sentence is none; "
                "set cutout=0"
            )
        self.subsets = {"train": self._indices()}
        valid = self._evaluation(self.source.valid) if self.config.validation > 0 else None
        return self._training(self.source.train, self.subsets["train"], "train"), valid

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> PairLoader:
        """The test or the validation part."""
        return self._evaluation(self.source.test if split == "test" else self.source.valid)

    def extra_files(self) -> dict[str, str]:
        """``vocabulary.json``: the words of both sides in the order of their numbers."""
        words = {"source": self.source.source.words, "target": self.source.target.words}
        return {"vocabulary.json": json.dumps(words, ensure_ascii=False, indent=0) + "\n"}

    def _indices(self) -> Tensor:
        """The pairs to learn from: all, or so many drawn by the seed."""
        subset, count = self.config.dataset.subset, len(self.source.train)
        if subset is None:
            return torch.arange(count)
        if subset > count:
            raise ValueError(
                f"dataset.subset={subset} is more than the {count} training pairs of "
                f"{self.source.name}; set dataset.subset=null for all of them"
            )
        return permutation(count, self.config.seed, "subset")[:subset].sort().values

    def _training(self, sentences: Sentences, indices: Tensor, stream: str) -> PairLoader:
        return PairLoader(
            sentences,
            indices,
            batch_size=self.config.loader.batch_size,
            stream=stream,
            shuffle=True,
            rank=self.ranks.rank,
            ranks=self.ranks.size,
            **self._common,
        )

    def _evaluation(self, sentences: Sentences) -> PairLoader:
        rank, ranks = self.ranks.rank, self.ranks.size
        return PairLoader(
            sentences,
            torch.arange(rank, len(sentences), ranks),  # a share of all, not of each batch
            batch_size=-(-self.config.loader.eval_batch_size // ranks),
            stream="evaluation",
            shuffle=False,
            **self._common,
        )

    @property
    def _common(self) -> dict[str, Any]:
        return {"seed": self.config.seed, "device": self.ranks.device}
