"""The choice between modules inside a model of your own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn


class BaseChoice(nn.Module):
    """A choice between candidates with alphas of its own.

    In a search, the output is the sum of the candidates' outputs, weighted by the mixing weights of
    the choice. Outside of a search, all weights are equal.

    Args:
        names: Names of the candidates, at least two.
        key: Name of the alphas. Choices with the same key share their alphas, so they make the same
            choice; their candidates must have the same names. By default, the alphas are named
            after the place of the choice in the model, such as ``block1``; another choice shares
            them with ``key="block1"``.

    Attributes:
        names: Names of the candidates.
        key: The argument ``key``.

    Raises:
        ValueError: If there are fewer than two candidates, or the key is no identifier.
    """

    def __init__(self, names: tuple[str, ...], key: str | None) -> None:
        super().__init__()
        self.names, self.key = names, key
        if len(names) < 2:
            raise ValueError(f"{self._kind} needs at least two candidates, got {len(names)}")
        if key is not None:
            self._check_identifier(key)
        self._weights: tuple[Tensor, ...] | None = None  # by column; None outside of a search
        self._active: tuple[int, ...] = tuple(range(len(names)))

    @abstractmethod
    def chosen(self, name: str) -> nn.Module:
        """Return the module that replaces the choice in the network of a genotype."""

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, nn.Module]:
        """By name of a candidate, the module with the weights that belong to it alone."""

    def mix(self, weights: Tensor | None, active: tuple[int, ...] | None = None) -> None:
        """Set the mixing weights ``(candidates,)`` and the columns to run, of the next passes.

        None stands for equal weights, and for all columns.
        """
        self._weights = None if weights is None else weights.unbind()
        self._active = tuple(range(len(self.names))) if active is None else active

    def _mixed(self, outputs: Mapping[int, Any]) -> Tensor:
        """Return the weighted sum of the outputs of the active columns.

        Raises:
            ValueError: If there are none, or they are no tensors of one shape.
        """
        self._check(outputs)
        if not outputs:
            raise ValueError(f"{self._name()} has no active candidate")
        tensors: dict[int, Tensor] = dict(outputs)
        if self._weights is None:
            return reduce(torch.add, tensors.values()) / len(self.names)
        terms = [self._weights[column] * tensor for column, tensor in tensors.items()]
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

    @property
    def _kind(self) -> str:
        name = type(self).__name__
        return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"

    def _name(self) -> str:
        return f"{type(self).__name__}({', '.join(self.names)})"

    def _check_identifier(self, name: object) -> None:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 60:
            raise ValueError(
                f"the name {str(name)[:60]!r} of {self._kind} must be an identifier of at most 60 "
                "letters"
            )


class Choice(BaseChoice):
    """One of several modules; a search finds out which.

    Candidates may contain choices, and a choice may be used several times in one forward pass.

    Args:
        candidates: At least two modules by name; a name is an identifier. They take the same
            arguments and return tensors of one shape.
        key: Name of the alphas, see ``BaseChoice``.

    Raises:
        ValueError: If there are fewer than two candidates, or a name or the key is invalid.
    """

    def __init__(self, candidates: Mapping[str, nn.Module], *, key: str | None = None) -> None:
        super().__init__(tuple(candidates), key)
        for name, candidate in candidates.items():
            self._check_identifier(name)
            if not isinstance(candidate, nn.Module):
                raise ValueError(f"the candidate {name!r} of a Choice is no torch.nn.Module")
            if hasattr(nn.ModuleDict(), name):
                raise ValueError(f"a candidate of a Choice cannot have the name {name!r}")
        self.candidates = nn.ModuleDict(dict(candidates))

    def chosen(self, name: str) -> nn.Module:
        return self.candidates[name]

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return dict(self.candidates.items())

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        modules = list(self.candidates.values())
        return self._mixed({column: modules[column](*args, **kwargs) for column in self._active})
