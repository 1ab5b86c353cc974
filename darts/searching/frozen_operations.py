"""The operations of a supernet that a freezing rule has frozen."""

from __future__ import annotations

import torch
from torch import Tensor

from darts.methods.freezing import Freezing, FreezingState, Gradients, ParameterSlice
from darts.spaces import SupernetBase


class FrozenOperations:
    """The frozen operations of a supernet, and the values that their weights keep.

    Args:
        net: Supernet.
        state: State of the freezing rule, from a checkpoint; None for a new search.

    Attributes:
        state: State of the freezing rule.
    """

    def __init__(self, net: SupernetBase, state: FreezingState | None = None) -> None:
        self._net = net
        self.state: FreezingState = {} if state is None else state
        self._stored: dict[str, list[tuple[ParameterSlice, Tensor]]] = {}
        self._store()

    def observe(self, rule: Freezing, train: Gradients, valid: Gradients) -> None:
        """Let the rule compare gradients of the training and the validation loss."""
        rule.observe(self._slices(), train, valid, self.state)
        self._store()

    @torch.no_grad()
    def restore(self) -> None:
        """Undo what a weight step did: momentum and weight decay need no gradient."""
        for stored in self._stored.values():
            for rows, values in stored:
                rows.of(rows.parameter).copy_(values)

    def _slices(self) -> dict[str, list[ParameterSlice]]:
        """Return the parts of parameters that each operation owns, by name of the operation."""
        return {
            name: [ParameterSlice(*row) for row in rows]
            for name, rows in self._net.operation_rows().items()
        }

    def _store(self) -> None:
        """Copy the weights of newly frozen operations."""
        frozen: list[str] = self.state.get("frozen", [])
        # Only some spaces implement ``operation_rows``, so it is called only if it is needed.
        slices = self._slices() if frozen else {}
        for name in frozen:
            if name in slices and name not in self._stored:
                self._stored[name] = [
                    (rows, rows.of(rows.parameter).detach().clone()) for rows in slices[name]
                ]
