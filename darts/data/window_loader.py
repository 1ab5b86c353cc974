"""A loader of running text for truncated back-propagation through time.

The text fills B columns that are read in parallel, T tokens at a time. A recurrent network starts a
window with its state after the previous one, without a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor

from darts.data.loader import Carry, LoaderOptions, LoaderState, PositionLoader, Window
from darts.data.randomness import seed_for
from darts.typed_values import typed

# Target where there is no token: the default `ignore_index` of `cross_entropy`.
IGNORE_INDEX = -100


class _Hidden(TypedDict):
    state: Tensor | None  # (B, H)
    after: Tensor | None  # (B, H)


class WindowLoader(PositionLoader[Window]):
    """Windows of a text.

    In training each epoch begins at a random one of the first T tokens of each column, so that the
    windows differ between epochs. The number of windows is the same in all epochs.

    Args:
        tokens: Token indices of the text, ``(N,)`` int64.
        options: ``batch_size`` is the number of columns, B. With ``shuffle``, epochs begin at
            random tokens. Otherwise an epoch has each token but the first as a target once.
        length: Maximum length of a window, T.
    """

    def __init__(self, tokens: Tensor, options: LoaderOptions, length: int) -> None:
        columns, shift = options.batch_size, options.shuffle
        num_targets = len(tokens) - 1
        height = num_targets // columns if shift else -(-num_targets // columns)
        steps = (height - length + 1) // length if shift else -(-height // length)
        if steps < 1:
            raise ValueError(
                f"{options.name}: {len(tokens)} tokens in {columns} columns are too few for "
                f"windows of {length}; choose a smaller loader.batch_size or task.window"
            )
        super().__init__(options, steps * columns)
        self.length, self.shift = length, shift
        self.carry = Carry()
        self._columns = columns
        self._inputs = self._in_columns(tokens[:-1], height, 0).to(self.device)
        targets = self._in_columns(tokens[1:], height, IGNORE_INDEX)
        self._row_counts: list[int] = (targets != IGNORE_INDEX).sum(1).tolist()
        self._targets = targets.to(self.device)

    def _in_columns(self, tokens: Tensor, height: int, fill: int) -> Tensor:
        """Return the tokens in columns, ``(height, B)``, cropped or filled at the end."""
        count = height * self._columns
        missing = max(0, count - len(tokens))
        filled = torch.cat([tokens[:count], tokens.new_full((missing,), fill)])
        return filled.view(self._columns, height).t().contiguous()

    def read(self, position: int) -> Window:
        """Return the window at a position, with an initial state of zeros."""
        return self._window(position, Carry())

    def read_next(self, position: int) -> Window:
        """Return the window at a position, with the state after the previous window.

        The first window of an epoch has an initial state of zeros.
        """
        self.carry = Carry(self.carry.after if position % self._steps else None)
        return self._window(position, self.carry)

    def _window(self, position: int, carry: Carry) -> Window:
        epoch, step = divmod(position, self._steps)
        offset = seed_for(*self._generator_name, "begin", epoch) % self.length if self.shift else 0
        rows = slice(offset + step * self.length, offset + (step + 1) * self.length)
        count = sum(self._row_counts[rows])
        return Window(self._inputs[rows], self._targets[rows], carry, count)

    def state_dict(self) -> LoaderState:
        """Return the state of the network before and after the last window, ``(B, H)`` each."""
        return {"state": self.carry.state, "after": self.carry.after}

    def load_state_dict(self, state: Mapping[str, Tensor | None]) -> None:
        saved = typed(_Hidden, state, "train_loader")
        states = (saved["state"], saved["after"])
        self.carry = Carry(*(None if own is None else own.to(self.device) for own in states))
