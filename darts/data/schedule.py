"""The samples of each batch, as a function of (seed, name of the loader, epoch, step) alone.

All ranks of a run use the same batches; each takes a share of every batch.
"""

from __future__ import annotations

from torch import Tensor

from darts.data.randomness import permutation, seed_for


def rank_slice(count: int, rank: int, ranks: int) -> slice:
    """Return a rank's share of ``count`` items: contiguous, of sizes that differ by at most one.

    >>> [rank_slice(7, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    size, rest = divmod(count, ranks)
    start = rank * size + min(rank, rest)
    return slice(start, start + size + (rank < rest))


class Schedule:
    """Divides indices into batches; with ``shuffle``, in a new order in every epoch.

    The position of a batch is its number over all epochs: ``epoch * steps + step``.

    Args:
        indices: Samples to use, ``(n,)`` int64, not empty.
        batch_size: Samples per batch, at least 1.
        seed, name: See ``SampleLoader``.
        shuffle: Whether each epoch has a different order. Otherwise each has that of ``indices``.
        drop_last: Whether to drop a smaller last batch, unless it is the only one.

    Attributes:
        steps: Batches per epoch.
        smallest: Size of the smallest batch.
    """

    def __init__(
        self,
        indices: Tensor,
        *,
        batch_size: int,
        seed: int,
        name: str,
        shuffle: bool,
        drop_last: bool,
    ) -> None:
        self.indices = indices.cpu()
        self.batch_size = batch_size
        self.shuffle = shuffle
        self._generator_name = (seed, name)
        full, rest = divmod(len(indices), batch_size)
        self.steps = full if drop_last and full else full + (rest > 0)
        self.smallest = batch_size if full and (drop_last or not rest) else rest
        self._orders: dict[int, Tensor] = {}

    def indices_at(self, position: int) -> Tensor:
        """Return the samples of a batch, ``(B,)`` int64 on the CPU."""
        epoch, step = divmod(position, self.steps)
        return self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def seed_at(self, position: int) -> int:
        """Return the seed of all random draws of a batch."""
        return seed_for(*self._generator_name, "batch", *divmod(position, self.steps))

    def _order(self, epoch: int) -> Tensor:
        if not self.shuffle:
            return self.indices
        if epoch not in self._orders:
            # Two orders are in use at the end of an epoch, because workers read ahead.
            while len(self._orders) > 1:
                del self._orders[next(iter(self._orders))]
            order = permutation(len(self.indices), *self._generator_name, "order", epoch)
            self._orders[epoch] = self.indices[order]
        return self._orders[epoch]
