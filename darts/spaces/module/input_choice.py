"""The choice between inputs inside a model of your own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from darts.spaces.module.choice import BaseChoice

MAX_SUBSETS = 1000


class InputChoice(BaseChoice):
    """The sum of ``keep`` of several inputs; a search finds out which.

    A candidate is a subset of ``keep`` inputs. Its name is their numbers: ``"0+2"``. The weight of
    an input in a search is the sum of the mixing weights of the subsets that contain it.

    The module is called with the inputs, or with one list of them. They are tensors of one shape.

    Args:
        inputs: Number of inputs, at least two.
        keep: Number of inputs that the choice keeps, at least one and fewer than ``inputs``.
        key: Name of the alphas, see ``BaseChoice``.

    Raises:
        ValueError: If one of the numbers or the key is invalid, or there are more than 1,000
            subsets.
    """

    def __init__(self, inputs: int, keep: int = 1, *, key: str | None = None) -> None:
        if not 1 <= keep < inputs:
            raise ValueError(
                f"an InputChoice cannot keep {keep} of {inputs} inputs: keep must be at least 1 "
                "and less than inputs"
            )
        if math.comb(inputs, keep) > MAX_SUBSETS:
            raise ValueError(
                f"an InputChoice that keeps {keep} of {inputs} inputs has "
                f"{math.comb(inputs, keep):,} candidates; at most {MAX_SUBSETS:,} are possible"
            )
        subsets = tuple(itertools.combinations(range(inputs), keep))
        super().__init__(tuple("+".join(map(str, subset)) for subset in subsets), key)
        self.inputs, self.subsets = inputs, subsets

    def chosen(self, name: str) -> nn.Module:
        return SumOfInputs(self.subsets[self.names.index(name)])

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {}

    def forward(self, *inputs: Tensor | Sequence[Tensor]) -> Tensor:
        tensors = _as_list(inputs)
        if len(tensors) != self.inputs:
            raise ValueError(f"{self._name()} has {self.inputs} inputs, but got {len(tensors)}")
        self._check_inputs(tensors)
        terms = []
        for number, tensor in enumerate(tensors):
            columns = [column for column in self._active if number in self.subsets[column]]
            if not columns:
                continue
            if self._weights is None:
                terms.append(tensor * (len(columns) / len(self.subsets)))
            else:
                weights = self._weights
                terms.append(reduce(torch.add, [weights[column] for column in columns]) * tensor)
        if not terms:
            raise ValueError(f"{self._name()} has no active candidate")
        return reduce(torch.add, terms)

    def _check_inputs(self, tensors: Sequence[object]) -> None:
        shapes = [tuple(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in tensors]
        if not all(isinstance(t, Tensor) for t in tensors) or len({*shapes}) > 1:
            listed = ", ".join(str(shape) for shape in shapes)
            raise ValueError(f"{self._name()}: inputs must be tensors of one shape, not {listed}")


class SumOfInputs(nn.Module):
    """The sum of some of the inputs, which are arguments or one list.

    Args:
        numbers: Numbers of the inputs to add, from 0.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        super().__init__()
        self.numbers = numbers

    def forward(self, *inputs: Tensor | Sequence[Tensor]) -> Tensor:
        tensors = _as_list(inputs)
        return reduce(torch.add, [tensors[number] for number in self.numbers])

    def extra_repr(self) -> str:
        return "+".join(map(str, self.numbers))


def _as_list(inputs: tuple[Tensor | Sequence[Tensor], ...]) -> list[Tensor]:
    if len(inputs) == 1 and not isinstance(inputs[0], Tensor):
        return list(inputs[0])
    return [*inputs]  # type: ignore[list-item]  # several sequences fail the check of their shapes
