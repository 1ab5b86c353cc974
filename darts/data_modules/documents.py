"""Texts with a class each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from darts.data import DocumentLoader, Documents, Labeled, stratified_split, stratified_subset
from darts.data.words import PADDING
from darts.data_modules.data_module import DataModule, InputSpec, SearchLoaders
from darts.training.distributed import Ranks


class DocumentDataModule(DataModule):
    """Batches of ``Documents``, split by class where their publisher has not done so."""

    source: Documents

    def __init__(self, config: Any, ranks: Ranks) -> None:
        super().__init__(config, ranks)
        self.target_names = self.source.classes

    def network_sizes(self, space: Any) -> dict[str, int]:
        """``classes``, and ``words``: how many are known."""
        return {"classes": len(self.target_names), "words": len(self.source.words)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """How many words are known: of which a text may have each any number of times."""
        return (len(self.source.words),)

    def example_input(self) -> Tensor:
        """A text of one word, ``(1, 1)``."""
        return torch.full((1, 1), PADDING + 1, device=self.ranks.device)

    def input_specs(self) -> list[InputSpec]:
        """Tokens of texts of any length, ``(L, B)``."""
        return [InputSpec("tokens", (8, 2), {0: "length", 1: "batch"}, len(self.source.words))]

    def search_loaders(self) -> SearchLoaders:
        """One stratified part of the training texts for the weights, the other for the alphas."""
        train = self.source.train
        weights, alphas = self._divided(self.config.train_portion, f"train_portion={self.config.train_portion}")
        self.subsets = {"weights": weights, "alphas": alphas}
        return SearchLoaders(
            self._training(weights, "weights"),
            self._training(alphas, "alphas"),
            self._evaluation(train, alphas),
        )

    def retrain_loaders(self) -> tuple[DocumentLoader, DocumentLoader | None]:
        """Training texts, of which some are held out where the publisher did not do so."""
        config = self.config
        if config.cutout:
            raise ValueError(
                f"cutout={config.cutout} erases a part of an image, and a text is none; "
                "set cutout=0"
            )
        if config.validation > 0 and self.source.valid is None:
            share = 1 - config.validation
            train, valid = self._divided(share, f"validation={config.validation}")
            self.subsets = {"train": train, "valid": valid}
        else:
            self.subsets = {"train": self._indices()}
        judged = self.held_out_loader("valid", self.subsets) if config.validation > 0 else None
        return self._training(self.subsets["train"], "train"), judged

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> DocumentLoader | None:
        """The test part, or what a retraining was judged by."""
        if split == "test":
            return self._evaluation(self.source.test)
        if self.source.valid is not None:
            return self._evaluation(self.source.valid)
        return self._evaluation(self.source.train, subsets["valid"]) if "valid" in subsets else None

    def extra_files(self) -> dict[str, str]:
        """``vocabulary.json``: the words in the order of their numbers."""
        return {"vocabulary.json": json.dumps(self.source.words.words, ensure_ascii=False) + "\n"}

    def _indices(self) -> Tensor:
        """The texts to learn from: all, or a stratified subset."""
        subset, labels = self.config.dataset.subset, self.source.train.labels
        if subset is None:
            return torch.arange(len(labels))
        if subset > len(labels):
            raise ValueError(
                f"dataset.subset={subset} is more than the {len(labels)} training texts of "
                f"{self.source.name}"
            )
        return stratified_subset(labels, subset, seed=self.config.seed)

    def _divided(self, share: float, key: str) -> list[Tensor]:
        indices = self._indices()
        labels = self.source.train.labels[indices]
        parts = stratified_split(labels, [share, 1 - share], seed=self.config.seed)
        if not all(len(part) for part in parts):
            raise ValueError(
                f"{key} of {len(indices)} training texts leaves a part without any; take more "
                "texts or a share nearer to 0.5"
            )
        return [indices[part] for part in parts]

    def _training(self, indices: Tensor, stream: str) -> DocumentLoader:
        return DocumentLoader(
            self.source.train,
            indices,
            batch_size=self.config.loader.batch_size,
            stream=stream,
            shuffle=True,
            rank=self.ranks.rank,
            ranks=self.ranks.size,
            **self._common,
        )

    def _evaluation(self, texts: Labeled, indices: Tensor | None = None) -> DocumentLoader:
        own = torch.arange(len(texts)) if indices is None else indices
        return DocumentLoader(
            texts,
            own[self.ranks.rank :: self.ranks.size],  # a share of all, not of each batch
            batch_size=-(-self.config.loader.eval_batch_size // self.ranks.size),
            stream="evaluation",
            shuffle=False,
            **self._common,
        )

    @property
    def _common(self) -> dict[str, Any]:
        return {"seed": self.config.seed, "device": self.ranks.device}
