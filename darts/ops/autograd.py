"""Types for custom autograd functions, which PyTorch leaves mostly untyped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx


class Context(FunctionCtx):
    """Type of the ``ctx`` argument, for annotations only."""

    if TYPE_CHECKING:
        saved_tensors: tuple[Tensor, ...]
        needs_input_grad: tuple[bool, ...]

        def save_for_backward(self, *tensors: Tensor | None) -> None: ...
        def __getattr__(self, name: str) -> Any: ...  # attributes that a function adds
        def __setattr__(self, name: str, value: object) -> None: ...


class OneOutput(Function):
    """An autograd function that returns a tensor."""

    if TYPE_CHECKING:

        @classmethod
        def apply(cls, *inputs: object) -> Tensor: ...


class SeveralOutputs(Function):
    """An autograd function that returns a tuple of tensors."""

    if TYPE_CHECKING:

        @classmethod
        def apply(cls, *inputs: object) -> tuple[Tensor, ...]: ...
