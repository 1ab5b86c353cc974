"""Batches of sentences, as a pure function of (seed, stream, epoch, step).

Sentences of a similar length are put together, so that little is computed for padding: an epoch's
random order is cut into pools, a pool is sorted by length, and the batches come in a random order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from darts.data.documents import Labeled
from darts.data.pairs import Sentences
from darts.data.randomness import permutation
from darts.data.schedule import rank_slice
from darts.data.words import BEGIN, PADDING

__all__ = ["DocumentLoader", "PairBatch", "PairLoader"]

POOL = 50
"""Batches that are sorted by length together."""


class PairBatch(NamedTuple):
    """Some pairs; padded behind their ends.

    Attributes:
        sources: ``(S, B)`` int64.
        inputs: what a decoder is given, ``(T, B)`` int64: each target behind its beginning.
        targets: what it is to say, ``(T, B)`` int64.
        references: the targets as they were written.
    """

    sources: Tensor
    inputs: Tensor
    targets: Tensor
    references: tuple[str, ...]


class ByLength(ABC):
    """Batches of sentences of a similar length.

    Args:
        sentences: numbers of words, ``(N, L)`` int64, padded.
        indices: which of them, ``(n,)`` int64.
        batch_size: B.
        seed: of the run.
        stream: a name that sets the draws of this object apart from those of others.
        shuffle: batches of an epoch in another order, of other sentences, without a smaller last
            one; else all of them, in one order.
        device: where the batches go.
        rank, ranks: take the share of this rank of every batch.

    Raises:
        ValueError: in one line, if there is no sentence, or a batch has fewer than there are ranks.
    """

    def __init__(
        self,
        sentences: Tensor,
        indices: Tensor,
        *,
        batch_size: int,
        seed: int,
        stream: str,
        shuffle: bool,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        count = len(indices)
        if not count:
            raise ValueError(f"{stream}: there is no sentence to make batches of")
        self._indices = indices
        self._lengths = (sentences[indices] != PADDING).sum(1)
        self._size, self._shuffle = min(batch_size, count), shuffle
        self._name, self.device = (seed, stream), device
        self._ranks = rank, ranks
        whole, rest = divmod(count, self._size)
        self._steps = whole if shuffle else whole + (rest > 0)
        smallest = rest if rest and not shuffle else self._size
        if smallest < ranks:
            raise ValueError(
                f"{stream}: a batch of {smallest} sentences cannot be shared by {ranks} ranks; "
                "choose another loader.batch_size or fewer ranks"
            )
        self._order: tuple[int, list[Tensor]] | None = None

    def __len__(self) -> int:
        """Steps an epoch."""
        return self._steps

    @property
    def rows(self) -> tuple[int, int]:
        """The first sentence of this rank in a batch, and the size of the whole."""
        return rank_slice(self._size, *self._ranks).start, self._size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of one epoch from step ``start`` on."""
        return (self.batch(epoch, step) for step in range(start, self._steps))

    def stream(self, position: int = 0) -> Iterator[Any]:
        """Batches without end, epoch after epoch, from batch number ``position`` on."""
        while True:
            yield self.batch(*divmod(position, self._steps))
            position += 1

    def batch(self, epoch: int, step: int) -> Any:
        """One batch at random access."""
        chosen = self._batches(epoch)[step]
        return self.of(chosen[rank_slice(len(chosen), *self._ranks)])

    @abstractmethod
    def of(self, chosen: Tensor) -> Any:
        """The batch of some sentences, on the device."""

    def cut(self, sentences: Tensor) -> Tensor:
        """Without what is padding to all, ``(B, L) -> (longest, B)``."""
        longest = int((sentences != PADDING).sum(1).max())
        return sentences[:, :longest].t().contiguous()

    def _batches(self, epoch: int) -> list[Tensor]:
        """Which sentences make up the batches of an epoch."""
        epoch = epoch if self._shuffle else 0
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._drawn(epoch)
        return self._order[1]

    def _drawn(self, epoch: int) -> list[Tensor]:
        if not self._shuffle:
            ordered = self._indices[torch.argsort(self._lengths, stable=True)]
            by_length = ordered.split(self._size)
            # The first few of them may stand for all, and so must not be the shortest.
            mixed = permutation(len(by_length), "order of evaluation").tolist()
            return [by_length[number] for number in mixed]
        order = permutation(len(self._indices), *self._name, "order", epoch)
        order = order[: self._steps * self._size]
        pools = order.split(POOL * self._size)
        ranked = [pool[torch.argsort(self._lengths[pool], stable=True)] for pool in pools]
        batches = torch.cat(ranked).split(self._size)
        shown = permutation(self._steps, *self._name, "batches", epoch).tolist()
        return [self._indices[batches[number]] for number in shown]

    def state_dict(self) -> dict[str, Any]:
        """What the batches to come depend on beside their place: nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - of none of them
        """Go on from ``state_dict``."""

    def close(self) -> None:  # noqa: B027
        """Nothing to end."""


class PairLoader(ByLength):
    """Batches of pairs, of similar length on the side that is read.

    Args:
        sentences: of which part.
        indices: which of them, ``(n,)`` int64.
        **options: of ``ByLength``.
    """

    def __init__(self, sentences: Sentences, indices: Tensor, **options: Any) -> None:
        super().__init__(sentences.sources, indices, **options)
        self._sentences = sentences

    def of(self, chosen: Tensor) -> PairBatch:
        """A ``PairBatch``."""
        sources = self.cut(self._sentences.sources[chosen])
        targets = self.cut(self._sentences.targets[chosen])
        begin = torch.full((1, len(chosen)), BEGIN)
        return PairBatch(
            sources.to(self.device),
            torch.cat([begin, targets[:-1]]).to(self.device),
            targets.to(self.device),
            tuple(self._sentences.references[number] for number in chosen.tolist()),
        )


class DocumentLoader(ByLength):
    """Batches of texts with their classes.

    Args:
        documents: of which part.
        indices: which of them, ``(n,)`` int64.
        **options: of ``ByLength``.
    """

    def __init__(self, documents: Labeled, indices: Tensor, **options: Any) -> None:
        super().__init__(documents.texts, indices, **options)
        self._documents = documents

    def of(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Texts ``(L, B)`` and labels ``(B,)``."""
        texts = self.cut(self._documents.texts[chosen])
        return texts.to(self.device), self._documents.labels[chosen].to(self.device)
