"""The pieces of a model of your own, so that the cost of each candidate can be measured.

The model runs once on a sample of zeros, which shows with which arguments each choice is called.
Then each candidate can run alone. In a candidate that contains other choices, these are replaced by
zeros, because their candidates are pieces themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from darts.spaces.module.choice import BaseChoice
from darts.spaces.module.genotype import Row, rows_of
from darts.spaces.network import NetworkPiece


@dataclass(frozen=True)
class Condition:
    """A row of the alphas, and the columns of the candidates that contain another choice."""

    group: str
    index: int
    columns: tuple[int, ...]


# By group and index of a row, the conditions under which its choice is part of the network.
Conditions = Mapping[tuple[str, int], Sequence[Condition]]


def conditions_of(model: nn.Module) -> Conditions:
    """Return the conditions of all choices that are inside of candidates of others."""
    rows = rows_of(model)
    found: dict[tuple[str, int], list[Condition]] = {}
    for row in rows:
        conditions = [_conditions(choice, rows) for choice in row.choices]
        if any(other != conditions[0] for other in conditions):
            raise ValueError(
                f"the choices with the key {row.key!r} are in different candidates of other "
                "choices, so their cost is not known; leave out the limits and penalties of costs"
            )
        found[row.group, row.index] = conditions[0]
    return found


def _conditions(choice: BaseChoice, rows: Sequence[Row]) -> list[Condition]:
    found = []
    for row in rows:
        for other in row.choices:
            columns = tuple(
                column
                for column, name in enumerate(row.names)
                if any(part is choice for part in other.chosen(name).modules())
            )
            if columns:
                found.append(Condition(row.group, row.index, columns))
    return found


class _Call(NamedTuple):
    args: tuple[object, ...]
    kwargs: dict[str, object]
    output: Tensor


class Zeros(nn.Module):
    """Stands for a choice: returns zeros of the shape of its output."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self._output = torch.zeros_like(output)  # no buffer, as it needs no memory for weights

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        first = next((arg for arg in args if isinstance(arg, Tensor)), self._output)
        return self._output.to(first.device)


class Called(nn.Module):
    """A candidate that is called with its recorded arguments, whatever the input is.

    The weights of the candidate are parameters of its first call only, so that they count once.
    """

    def __init__(self, module: nn.Module, call: _Call, number: int) -> None:
        super().__init__()
        self._held, self._number = [module], number  # a list hides the module
        self._arguments = call.args, call.kwargs
        if number == 0:
            self.module = module

    def forward(self, sample: Tensor) -> Tensor:
        args, kwargs = tree_map_only(Tensor, lambda x: x.to(sample.device), self._arguments)
        output: Tensor = self._held[0].to(sample.device)(*args, **kwargs)
        return output

    def extra_repr(self) -> str:
        # Equal texts share a measurement.
        shapes = tree_map_only(Tensor, lambda x: tuple(x.shape), self._arguments)
        return f"call {self._number}, arguments {shapes}" + (
            "" if self._number == 0 else f", {self._held[0]}"
        )


def pieces(model: nn.Module, sample_shape: Sequence[int]) -> Iterator[NetworkPiece]:
    """Yield the candidates of each call of each choice, and the other modules of the model.

    The model must be new, because it is changed in place.
    """
    model.eval()
    rows, shape = rows_of(model), tuple(sample_shape)
    calls = _record(model, [choice for row in rows for choice in row.choices], shape)
    for row in rows:
        for choice in row.choices:
            for number, call in enumerate(calls[id(choice)]):
                for column, name in enumerate(row.names):
                    called = Called(_with_zeros(choice.chosen(name), calls), call, number)
                    yield NetworkPiece(
                        lambda called=called: called,  # type: ignore[misc]
                        shape,
                        (row.group, row.index, column),
                    )
    yield NetworkPiece(lambda: _with_zeros(model, calls), shape)


def _record(
    model: nn.Module, choices: Sequence[BaseChoice], shape: tuple[int, ...]
) -> dict[int, list[_Call]]:
    """Return the calls of each choice by its ``id``, in a pass of one sample of zeros."""
    calls: dict[int, list[_Call]] = {id(choice): [] for choice in choices}

    def remember(
        module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: Tensor
    ) -> None:
        calls[id(module)].append(_Call(args, kwargs, output))

    handles = [c.register_forward_hook(remember, with_kwargs=True) for c in choices]
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape))
    finally:
        for handle in handles:
            handle.remove()
    for own in calls.values():
        shapes = {tuple(call.output.shape) for call in own}
        if len(shapes) > 1:
            raise ValueError(
                f"a choice returns tensors of different shapes, {' and '.join(map(str, shapes))}, "
                "so its cost is not known; leave out the limits and penalties of costs"
            )
    return calls


def _with_zeros(module: nn.Module, calls: Mapping[int, Sequence[_Call]]) -> nn.Module:
    """Return a copy of a module in which every choice with a call returns zeros."""
    zeros = {id_: Zeros(own[0].output) for id_, own in calls.items() if own}
    if id(module) in zeros:
        return zeros[id(module)]
    # A deep copy takes what the memo has for an object in place of a copy of it.
    return copy.deepcopy(module, dict(zeros))
