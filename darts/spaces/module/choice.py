"""Choices inside a model of your own: between modules, of inputs, and of a number of blocks."""

from __future__ import annotations

import inspect
import itertools
import math
import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

MAX_SUBSETS = 1000  # of an InputChoice


class BaseChoice(nn.Module):
    """A choice between candidates with alphas of its own.

    In a search, the output is the sum of the candidates' outputs, weighted by the mixing weights of
    the choice. Outside of a search, all weights are equal.

    Args:
        key: Name of the alphas. Choices with the same key share their alphas, so they make the same
            choice; their candidates must have the same names. By default, the alphas are named
            after the place of the choice in the model, such as ``block1``; another choice shares
            them with ``key="block1"``.
    """

    _weights: Sequence[Tensor | float]  # by column
    _active: Sequence[int]

    def __init__(self, names: tuple[str, ...], key: str | None) -> None:
        super().__init__()
        self.names, self.key = names, key
        if len(names) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two candidates, got {len(names)}"
            )
        if key is not None:
            self._check_identifier(key)
        self.mix(None)

    @abstractmethod
    def chosen(self, name: str) -> nn.Module:
        """Return the module that replaces the choice in the network of a genotype."""

    def mix(self, weights: Tensor | None, active: Sequence[int] | None = None) -> None:
        """Set the mixing weights ``(candidates,)`` and the columns to run, of the next passes.

        None stands for equal weights, and for all columns.
        """
        count = len(self.names)
        self._weights = [1 / count] * count if weights is None else weights.unbind()
        self._active = range(count) if active is None else active

    def _mixed(self, outputs: Mapping[int, Any]) -> Tensor:
        self._check("outputs", {self.names[column]: own for column, own in outputs.items()})
        tensors: dict[int, Tensor] = dict(outputs)
        terms = [self._weights[column] * tensor for column, tensor in tensors.items()]
        return reduce(torch.add, terms)

    def _check(self, what: str, values: Mapping[str, object]) -> None:
        """Raise ValueError unless all values are tensors of one shape."""
        shapes = {
            name: tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            for name, value in values.items()
        }
        if len({*shapes.values()}) > 1 or any(isinstance(own, str) for own in shapes.values()):
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"{self._name()}: {what} must be tensors of one shape, not {listed}")

    def _name(self) -> str:
        return f"{type(self).__name__}({', '.join(self.names)})"

    def _check_identifier(self, name: object) -> None:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 60:
            raise ValueError(
                f"{type(self).__name__}: the name {str(name)[:60]!r} must be an identifier of at "
                "most 60 letters"
            )


class Choice(BaseChoice):
    """One of several modules; a search finds out which.

    Candidates may contain choices, and a choice may be used several times in one forward pass.

    Args:
        candidates: At least two modules by name; a name is an identifier. Or a list of modules,
            whose names are their positions: "0", "1", ... They take the same arguments and return
            tensors of one shape.
        key: Name of the alphas, see ``BaseChoice``.
    """

    def __init__(
        self, candidates: Mapping[str, nn.Module] | Sequence[nn.Module], *, key: str | None = None
    ) -> None:
        if not isinstance(candidates, Mapping | Sequence | nn.ModuleDict | nn.ModuleList):
            raise TypeError("Choice: candidates must be a mapping or a list of modules")
        if isinstance(candidates, Sequence | nn.ModuleList):
            positions = map(str, range(len(candidates)))
            candidates = dict(zip(positions, candidates, strict=True))
        else:
            for name in candidates:
                self._check_identifier(name)
        super().__init__(tuple(candidates), key)
        try:
            self.candidates = nn.ModuleDict(dict(candidates))
        except (KeyError, TypeError) as error:  # a name of ModuleDict, or not a module
            raise ValueError(f"{self._name()}: {error.args[0]}") from None

    def chosen(self, name: str) -> nn.Module:
        return self.candidates[name]

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        modules = list(self.candidates.values())
        return self._mixed({column: modules[column](*args, **kwargs) for column in self._active})


class InputChoice(BaseChoice):
    """The sum of ``keep`` of several inputs; a search finds out which.

    A candidate is a subset of ``keep`` inputs. Its name is their numbers: ``"0+2"``. The weight of
    an input in a search is the sum of the mixing weights of the subsets that contain it. At most
    1,000 subsets are possible.

    The module is called with the inputs, or with one list of them. They are tensors of one shape.

    Args:
        inputs: Number of inputs, at least two.
        keep: Number of inputs that the choice keeps, at least one and fewer than ``inputs``.
        key: Name of the alphas, see ``BaseChoice``.
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

    def forward(self, *inputs: Tensor | Sequence[Tensor]) -> Tensor:
        tensors = _as_list(inputs)
        if len(tensors) != self.inputs:
            raise ValueError(f"{self._name()} has {self.inputs} inputs, but got {len(tensors)}")
        self._check("inputs", {str(number): own for number, own in enumerate(tensors)})
        terms: list[Tensor] = []
        for number, tensor in enumerate(tensors):
            columns = [column for column in self._active if number in self.subsets[column]]
            if columns:
                weights = [self._weights[column] for column in columns]
                terms.append(reduce(operator.add, weights) * tensor)
        return reduce(torch.add, terms)


class SumOfInputs(nn.Module):
    """The sum of the inputs with some numbers, from 0; the inputs are arguments or one list."""

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


class Repeat(BaseChoice):
    """A chain of ``min`` to ``max`` blocks; a search finds out how many.

    A candidate is a number of blocks. All of them share the blocks: the blocks run once, one after
    the other, and a search mixes the outputs after ``min``, ..., ``max`` of them. These outputs
    must have one shape. A chain of no blocks returns its input. Blocks may contain choices; each
    block has its own.

    Args:
        make_block: Returns a new block, a module with one input and one output. If it takes an
            argument, this is the number of the block, from 0.
        min: Smallest number of blocks.
        max: Largest number of blocks.
        key: Name of the alphas, see ``BaseChoice``.
    """

    def __init__(
        self, make_block: Callable[..., nn.Module], *, min: int, max: int, key: str | None = None
    ) -> None:
        if not 0 <= min < max:
            raise ValueError(f"a Repeat of min={min} to max={max} blocks: needs 0 <= min < max")
        if isinstance(make_block, nn.Module):  # it is callable
            raise TypeError("make_block of a Repeat must be a function that returns a new block")
        super().__init__(tuple(str(count) for count in range(min, max + 1)), key)
        self.min = min
        blocks = [make_block(number) if _takes_number(make_block) else make_block()
                  for number in range(max)]  # fmt: skip
        if len({id(block) for block in blocks}) < max:
            raise ValueError("make_block of a Repeat must return a new block in each call")
        try:
            self.blocks = nn.ModuleList(blocks)
        except TypeError as error:
            raise ValueError(f"make_block of a Repeat: {error}") from None

    def chosen(self, name: str) -> nn.Module:
        return nn.Sequential(*self.blocks[: int(name)])

    def forward(self, x: Tensor) -> Tensor:
        columns = {self.min + column: column for column in self._active}  # by number of blocks
        outputs = {columns[0]: x} if 0 in columns else {}
        for count in range(1, max(columns, default=0) + 1):
            x = self.blocks[count - 1](x)
            if count in columns:
                outputs[columns[count]] = x
        return self._mixed(outputs)


def _takes_number(make_block: Callable[..., nn.Module]) -> bool:
    try:
        parameters = inspect.signature(make_block).parameters.values()
    except ValueError:  # a function without signature, written in C
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.default is p.empty and p.kind in kinds for p in parameters)
