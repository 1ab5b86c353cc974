"""Texts with one class each."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from darts.config import RetrainConfig, SearchConfig
from darts.data import DocumentLoader, Documents, InputSpec, LabeledTexts
from darts.data.encodings import WordEncoding
from darts.data.words import PADDING
from darts.data_modules.data_module import DATA_MODULES
from darts.data_modules.labeled import LabeledDataModule
from darts.spaces import Space
from darts.training.distributed import Ranks


@DATA_MODULES.register
class DocumentDataModule(LabeledDataModule[LabeledTexts]):
    """Batches ``(texts, labels)`` of ``Documents``."""

    name = "documents"
    data_kinds = ("documents",)
    sample_noun = "texts"
    source: Documents

    def __init__(
        self, config: SearchConfig | RetrainConfig, ranks: Ranks, source: object | None = None
    ) -> None:
        super().__init__(config, ranks, source)
        self.target_names = self.source.classes

    def network_sizes(self, space: Space) -> dict[str, int]:
        """Return ``classes`` and ``vocab_size``, the size of the vocabulary."""
        return {"classes": len(self.target_names), "vocab_size": len(self.source.vocabulary)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Size of the vocabulary: spaces that read no sequences take a text as its word counts."""
        return (len(self.source.vocabulary),)

    def example_input(self) -> Tensor:
        """Return a text of one word, ``(1, 1)``."""
        return torch.full((1, 1), PADDING + 1, device=self.ranks.device)

    def input_specs(self) -> list[InputSpec]:
        """Return the one input: the tokens of a batch, ``(L, B)``."""
        return [InputSpec("tokens", (8, 2), {0: "length", 1: "batch"}, len(self.source.vocabulary))]

    @property
    def encoding(self) -> WordEncoding:
        return self.source.encoding

    def extra_files(self) -> dict[str, str]:
        """Return ``vocabulary.json``, the words by index."""
        return {
            "vocabulary.json": json.dumps(self.source.vocabulary.words, ensure_ascii=False) + "\n"
        }

    def training_loader(self, indices: Tensor, name: str, *, cutout: int = 0) -> DocumentLoader:
        """Return shuffled batches of texts of similar length; ``cutout`` must be 0."""
        self.refuse_cutout(cutout)
        options = self.loader_options(name, training=True)
        return DocumentLoader(self.source.train, indices, **options)

    def evaluation_loader(
        self, split: LabeledTexts, indices: Tensor | None = None
    ) -> DocumentLoader:
        """Return batches of texts of similar length.

        Each rank gets a share of the split, not of each batch.
        """
        indices = torch.arange(len(split)) if indices is None else indices
        share = indices[self.ranks.rank :: self.ranks.size]
        return DocumentLoader(split, share, **self.loader_options("evaluation", training=False))
