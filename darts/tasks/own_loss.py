"""A loss function of the user's own, which is passed to a Python function.

Like a model of the user's own, it is code, so a run directory only records that there was one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from torch import Tensor

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Returns the mean loss, a scalar, for the outputs ``(B, K)`` of a network and the targets of a
batch, see ``darts.data.targets``; in classification, for logits and classes ``(B,)`` int64."""

OWN = "own"
"""Value of ``task.loss`` for a function that was passed."""

_passed: ContextVar[Loss | None] = ContextVar("passed_loss", default=None)


@contextmanager
def passed_loss(loss: Loss | None) -> Iterator[None]:
    """Let ``task.loss=own`` use this function in a block; None changes nothing."""
    if loss is None:
        yield
        return
    token = _passed.set(loss)
    try:
        yield
    finally:
        _passed.reset(token)


def require_loss() -> Loss:
    """Return the function that was passed; raise ValueError outside of ``passed_loss``."""
    loss = _passed.get()
    if loss is None:
        raise ValueError(
            "task.loss=own: pass the function to darts.search(loss=...) or darts.retrain(loss=...)"
        )
    return loss


def compute_own_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the value of the function that was passed, a scalar."""
    value: object = require_loss()(logits, labels)
    if not isinstance(value, Tensor) or value.ndim > 0:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"the loss returns {found}; it must return a scalar tensor, the mean loss")
    return value
