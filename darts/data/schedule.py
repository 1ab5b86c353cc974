"""Which samples make up which batch, as a function of (seed, stream, epoch, step) alone.

Several ranks see the same batches, and each takes a share of every one.
"""

from __future__ import annotations

from torch import Tensor

from darts.data.randomness import mix, permutation

__all__ = ["Schedule", "rank_slice"]


def rank_slice(count: int, rank: int, ranks: int) -> slice:
    """Which of ``count`` things fall to a rank: contiguous shares that differ by one at most.

    >>> [rank_slice(7, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    each, more = divmod(count, ranks)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


class Schedule:
    """Cuts an index into batches, in a new order every epoch if asked.

    A position is the number of a batch counted over all epochs: `epoch * steps + step`.

    Args:
        indices: (n,) int64, not empty.
        batch_size: at least 1.
        seed, stream: name the orders.
        shuffle: else every epoch follows `indices`.
        drop_last: leave out a smaller last batch, unless it is the only one.
    """

    def __init__(
        self,
        indices: Tensor,
        *,
        batch_size: int,
        seed: int,
        stream: str,
        shuffle: bool,
        drop_last: bool,
    ) -> None:
        self.indices = indices.cpu()
        self.batch_size = batch_size
        self.shuffle = shuffle
        self._name = (seed, stream)
        whole, rest = divmod(len(indices), batch_size)
        self.steps = whole if drop_last and whole else whole + (rest > 0)
        self.smallest = batch_size if whole and (drop_last or not rest) else rest
        self._orders: dict[int, Tensor] = {}

    def chosen(self, position: int) -> Tensor:
        """The samples of a batch, (B,) int64 on the CPU."""
        epoch, step = divmod(position, self.steps)
        return self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def seed(self, position: int) -> int:
        """The seed of every draw of a batch."""
        return mix(*self._name, "batch", *divmod(position, self.steps))

    def _order(self, epoch: int) -> Tensor:
        if not self.shuffle:
            return self.indices
        if epoch not in self._orders:
            # Workers read ahead, so that at the end of an epoch two orders are in use.
            while len(self._orders) > 1:
                del self._orders[next(iter(self._orders))]
            order = permutation(len(self.indices), *self._name, "order", epoch)
            self._orders[epoch] = self.indices[order]
        return self._orders[epoch]
