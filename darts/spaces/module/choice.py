"""The choice between modules inside a model of your own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn


class Choice(nn.Module):
    """One of several modules; a search finds out which.

    In a search, the output is the sum of the candidates' outputs, weighted by the mixing weights of
    the choice. Outside of a search, all weights are equal. Candidates may contain choices, and a
    choice may be used several times in one forward pass.

    Args:
        candidates: At least two modules by name; a name is an identifier. They take the same
            arguments and return tensors of one shape.
        key: Name of the alphas. Choices with the same key share their alphas, so they make the same
            choice; their candidates must have the same names. By default, the choice has alphas of
            its own, which are named after its place in the model.

    Raises:
        ValueError: If there are fewer than two candidates, or a name or the key is invalid.
    """

    def __init__(self, candidates: Mapping[str, nn.Module], *, key: str | None = None) -> None:
        super().__init__()
        if len(candidates) < 2:
            raise ValueError(f"a Choice needs at least two candidates, got {len(candidates)}")
        for name in (*candidates, *(() if key is None else (key,))):
            if not isinstance(name, str) or not name.isidentifier() or len(name) > 60:
                raise ValueError(
                    f"the name {str(name)[:60]!r} of a Choice must be an identifier of at most 60 "
                    "letters"
                )
        for name, candidate in candidates.items():
            if not isinstance(candidate, nn.Module):
                raise ValueError(f"the candidate {name!r} of a Choice is no torch.nn.Module")
            if hasattr(nn.ModuleDict(), name):
                raise ValueError(f"a candidate of a Choice cannot have the name {name!r}")
        self.key = key
        self.candidates = nn.ModuleDict(dict(candidates))
        self._weights: tuple[Tensor, ...] | None = None  # by column; None outside of a search
        self._active: tuple[int, ...] = tuple(range(len(candidates)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the candidates."""
        return tuple(self.candidates)

    def mix(self, weights: Tensor | None, active: tuple[int, ...] | None = None) -> None:
        """Set the mixing weights ``(candidates,)`` and the columns to run, of the next passes.

        None stands for equal weights, and for all columns.
        """
        self._weights = None if weights is None else weights.unbind()
        self._active = tuple(range(len(self.candidates))) if active is None else active

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        modules = list(self.candidates.values())
        count = len(modules)
        outputs: dict[int, Tensor] = {
            column: modules[column](*args, **kwargs) for column in self._active
        }
        self._check(outputs)
        if self._weights is None:
            return reduce(torch.add, outputs.values()) / count
        terms = [self._weights[column] * output for column, output in outputs.items()]
        if not terms:
            raise ValueError(f"{self._name()} has no active candidate")
        return reduce(torch.add, terms)

    def _check(self, outputs: Mapping[int, Any]) -> None:
        """Refuse outputs that cannot be added."""
        shapes = {}
        for column, output in outputs.items():
            if not isinstance(output, Tensor):
                raise ValueError(
                    f"{self._name()}: {self.names[column]} returns {type(output).__name__}, not a "
                    "tensor"
                )
            shapes[self.names[column]] = tuple(output.shape)
        if len({*shapes.values()}) > 1:
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"{self._name()}: outputs differ in shape: {listed}")

    def _name(self) -> str:
        return f"Choice({', '.join(self.names)})"
