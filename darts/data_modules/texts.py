"""Texts with one class each, running text in windows, and pairs of sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from darts.config import RetrainConfig, SearchConfig
from darts.data import InputSpec, WindowLoader
from darts.data.corpus import Corpus
from darts.data.documents import Documents, LabeledTexts
from darts.data.pairs import Pairs, SentencePairs
from darts.data.randomness import permutation
from darts.data.sentence_loader import DocumentLoader, PairLoader
from darts.data.words import PADDING
from darts.data_modules.data_module import DATA_MODULES, DataModule, SearchLoaders
from darts.data_modules.labeled import LabeledDataModule
from darts.spaces import Space
from darts.tasks.language_model import LanguageModel
from darts.training.distributed import Ranks


@DATA_MODULES.register
class DocumentDataModule(LabeledDataModule[LabeledTexts]):
    """Batches ``(texts, labels)`` of ``Documents``."""

    name = "documents"
    data_kinds = ("documents",)
    sample_noun = "texts"
    source: Documents

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.source.encoding.words

    def network_sizes(self, space: Space) -> dict[str, int]:
        return {"classes": len(self.target_names), "vocab_size": len(self.vocabulary)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Size of the vocabulary: spaces that read no sequences take a text as its word counts."""
        return (len(self.vocabulary),)

    def input_specs(self) -> list[InputSpec]:
        """Return the one input: the tokens of a batch, ``(L, B)``."""
        return [InputSpec("tokens", (8, 2), {0: "length", 1: "batch"}, len(self.vocabulary))]

    def split_loader(
        self, split: LabeledTexts, indices: Tensor, name: str, *, training: bool
    ) -> DocumentLoader:
        return DocumentLoader(split, indices, self.loader_options(name, training=training))


@DATA_MODULES.register
class TextDataModule(DataModule):
    """Windows of a ``Corpus``.

    A search trains the weights on the training split and the alphas on the validation split.
    ``subsets`` holds ``[0, N]`` for a loader that reads the tokens 0 to N - 1 of its split.
    """

    name = "text"
    data_kinds = ("text",)
    target_noun = "tokens"
    sample_noun = "tokens"
    source: Corpus

    def __init__(self, config: SearchConfig | RetrainConfig, ranks: Ranks) -> None:
        if ranks.size > 1:
            raise ValueError(
                f"task={config.task.name} runs in one process, because its networks carry a state "
                "from window to window; start it without torchrun"
            )
        super().__init__(config, ranks)
        assert isinstance(config.task, LanguageModel)
        self.window = config.task.window

    @property
    def target_names(self) -> tuple[str, ...]:
        return self.source.vocabulary

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.source.vocabulary

    def network_sizes(self, space: Space) -> dict[str, int]:
        return {"vocab_size": len(self.vocabulary)}

    def input_specs(self) -> list[InputSpec]:
        return [InputSpec("tokens", (self.window, 2), {1: "batch"}, len(self.vocabulary))]

    def training_loader(self, indices: Tensor, name: str) -> WindowLoader:
        options = self.loader_options(name, training=True)
        return WindowLoader(self.source.train[: indices[1]], options, self.window)

    def search_loaders(self) -> SearchLoaders:
        """Return loaders; the validation split trains the alphas and gives the scores."""
        weights, valid = self._training_indices(), self.source.valid
        self.subsets = {"weights": weights, "alphas": torch.tensor([0, len(valid)])}
        return SearchLoaders(
            self.training_loader(weights, "weights"),
            WindowLoader(valid, self.loader_options("alphas", training=True), self.window),
            self.held_out_loader("valid", {}),
        )

    def _retrain_subsets(self, config: RetrainConfig) -> dict[str, Tensor]:
        subsets = super()._retrain_subsets(config)
        if config.validation > 0:
            subsets["valid"] = torch.tensor([0, len(self.source.valid)])
        return subsets

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> WindowLoader:
        """Return a loader of the test split in one column, or of the validation split."""
        options = self.loader_options("evaluation", training=False)
        if split == "test":  # the state carries through the whole text
            return WindowLoader(self.source.test, replace(options, batch_size=1), self.window)
        return WindowLoader(self.source.valid, options, self.window)

    def scored_targets(self, split: str) -> Tensor:
        """Return the tokens of a split except the first, which is never a target."""
        return (self.source.test if split == "test" else self.source.valid)[1:]

    def subset_sizes(self) -> dict[str, int]:
        return {name: int(limits[-1]) for name, limits in self.subsets.items()}

    def _training_indices(self) -> Tensor:
        """Return ``[0, N]`` for all N training tokens or the first ``dataset.subset``."""
        count = len(self.source.train)
        return torch.tensor([0, self.subset_size(count) or count])


@DATA_MODULES.register
class PairDataModule(DataModule):
    """Batches of ``Pairs``. A search divides the training split into two subsets."""

    name = "pairs"
    data_kinds = ("pairs",)
    target_noun = "words"
    sample_noun = "pairs"
    source: Pairs

    @property
    def target_names(self) -> tuple[str, ...]:
        return self.source.target_encoding.words

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        return {
            "source": self.source.source_encoding.words,
            "target": self.source.target_encoding.words,
        }

    def network_sizes(self, space: Space) -> dict[str, int]:
        """Return the sizes of both vocabularies, and whether they are the same (``joint``)."""
        source, target = self.source.source_encoding, self.source.target_encoding
        sizes = {"sources": len(source.words), "targets": len(target.words)}
        return {**sizes, "joint": source is target}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Raise ValueError: only cost penalties use it, which do not support sentence pairs."""
        raise ValueError(
            f"penalty: the cost of a cell does not depend on its operations for "
            f"task={self.config.task.name}; leave penalty out"
        )

    def training_loader(self, indices: Tensor, name: str) -> PairLoader:
        return PairLoader(self.source.train, indices, self.loader_options(name, training=True))

    def search_loaders(self) -> SearchLoaders:
        """Return loaders of two random subsets; the validation split gives the scores.

        With ``train_portion=1``, both subsets are the whole training split.
        """
        assert isinstance(self.config, SearchConfig)
        share = self.config.train_portion
        indices = self._training_indices()
        order = indices[permutation(len(indices), self.config.seed, "split")]
        count = round(share * len(order))
        weights, alphas = order[:count], order[count:] if share < 1 else order
        self.check_not_empty([weights, alphas], f"train_portion={share}")
        return self._loaders_of_subsets(weights, alphas, self.held_out_loader("valid", {}))

    def held_out_loader(self, split: str, subsets: Mapping[str, Tensor]) -> PairLoader:
        """Return batches of a rank's share of the split, not a share of each batch."""
        pairs = self._split(split)
        share = torch.arange(self.ranks.rank, len(pairs), self.ranks.size)
        return PairLoader(pairs, share, self.loader_options("evaluation", training=False))

    def scored_targets(self, split: str) -> Tensor:
        """Return the words of all target sentences; the end mark of each sentence is included."""
        targets = self._split(split).targets
        return targets[targets != PADDING]

    def _split(self, split: str) -> SentencePairs:
        return self.source.test if split == "test" else self.source.valid

    def _training_indices(self) -> Tensor:
        count = len(self.source.train)
        subset = self.subset_size(count)
        if subset is None:
            return torch.arange(count)
        return permutation(count, self.config.seed, "subset")[:subset].sort().values
