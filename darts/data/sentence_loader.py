"""Loaders of sentence pairs and of texts, in batches of similar length.

Similar lengths reduce padding: the random order of an epoch is cut into pools, each pool is sorted
by length and cut into batches, and the batches are shuffled.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sized
from typing import Generic, TypeVar

import torch
from torch import Tensor

from darts.data.documents import LabeledTexts
from darts.data.loader import B, LoaderOptions, PairBatch, PositionLoader, SampleBatch, rank_slice
from darts.data.pairs import SentencePairs
from darts.data.randomness import permutation
from darts.data.words import BEGIN, PADDING
from darts.ops.transfer import to_device

# Batches per pool.
POOL = 50

Split = TypeVar("Split", bound=Sized)


class SentenceLoader(PositionLoader[B], Generic[Split, B]):
    """Batches of sentences of similar length.

    With ``shuffle``, each epoch has a different order, otherwise the same random order.
    """

    def __init__(self, split: Split, indices: Tensor, options: LoaderOptions) -> None:
        super().__init__(options, len(indices))
        self.split = split
        self._indices = indices
        self._lengths = (self.sentences()[indices] != PADDING).sum(1)
        self._batches = functools.lru_cache(maxsize=1)(self._draw_batches)

    def read(self, position: int) -> B:
        epoch, step = divmod(position, self._steps)
        chosen = self._batches(epoch if self.options.shuffle else 0)[step]
        return self.collate(chosen[rank_slice(len(chosen), *self._ranks)])

    @abstractmethod
    def sentences(self) -> Tensor:
        """Return the sentences whose lengths decide the batches, padded, ``(N, L)`` int64."""

    @abstractmethod
    def collate(self, indices: Tensor) -> B:
        """Return the batch of the sentences ``indices``, ``(B,)`` int64, on the device."""

    @staticmethod
    def time_major(sentences: Tensor) -> Tensor:
        """Transpose ``(B, L)`` to ``(max length, B)``, without rows of padding only."""
        max_length = int((sentences != PADDING).sum(1).max())
        return sentences[:, :max_length].t().contiguous()

    def _draw_batches(self, epoch: int) -> list[Tensor]:
        """Return the indices of each batch of an epoch, ``(B,)`` int64 each."""
        # Evaluation also has a random order, because a search may score the first batches only.
        name = self._generator_name if self.options.shuffle else (0, "evaluation")
        order = permutation(len(self._indices), *name, "order", epoch)
        order = order[: self._steps * self._size]
        pools = torch.split(order, POOL * self._size)
        ranked = [pool[torch.argsort(self._lengths[pool], stable=True)] for pool in pools]
        batches = torch.split(torch.cat(ranked), self._size)
        shuffled = permutation(self._steps, *name, "batches", epoch).tolist()
        return [self._indices[batches[number]] for number in shuffled]


class PairLoader(SentenceLoader[SentencePairs, PairBatch]):
    """Batches of sentence pairs whose sources have a similar length."""

    def sentences(self) -> Tensor:
        return self.split.sources

    def collate(self, indices: Tensor) -> PairBatch:
        sources = self.time_major(self.split.sources[indices])
        targets = self.time_major(self.split.targets[indices])
        begin = torch.full((1, len(indices)), BEGIN)
        return PairBatch(
            to_device(sources, self.device),
            to_device(torch.cat([begin, targets[:-1]]), self.device),
            to_device(targets, self.device),
            tuple(self.split.references[index] for index in indices.tolist()),
            int((targets != PADDING).sum()),
        )


class DocumentLoader(SentenceLoader[LabeledTexts, SampleBatch]):
    """Batches of texts ``(L, B)`` and their classes ``(B,)``."""

    def sentences(self) -> Tensor:
        return self.split.texts

    def collate(self, indices: Tensor) -> SampleBatch:
        texts = self.time_major(self.split.texts[indices])
        return to_device(texts, self.device), to_device(self.split.labels[indices], self.device)
