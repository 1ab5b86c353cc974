"""The number of blocks inside a model of your own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from darts.spaces.module.choice import BaseChoice


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

    Raises:
        ValueError: If the numbers or the key are invalid, or a block is no module.
    """

    def __init__(
        self, make_block: Callable[..., nn.Module], *, min: int, max: int, key: str | None = None
    ) -> None:
        if not 0 <= min < max:
            raise ValueError(f"a Repeat of min={min} to max={max} blocks: needs 0 <= min < max")
        super().__init__(tuple(str(count) for count in range(min, max + 1)), key)
        self.min = min
        blocks = [make_block(number) if _takes_number(make_block) else make_block()
                  for number in range(max)]  # fmt: skip
        for block in blocks:
            if not isinstance(block, nn.Module):
                raise ValueError(f"a block of a Repeat is {block!r}, no torch.nn.Module")
        if len({id(block) for block in blocks}) < max:
            raise ValueError("make_block of a Repeat must return a new block in each call")
        self.blocks = nn.ModuleList(blocks)

    def chosen(self, name: str) -> nn.Module:
        return nn.Sequential(*self.blocks[: int(name)])

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {name: self.blocks[int(name) - 1] for name in self.names if int(name) > 0}

    def forward(self, x: Tensor) -> Tensor:
        columns = {self.min + column: column for column in self._active}  # by number of blocks
        outputs = {columns[0]: x} if 0 in columns else {}
        for count in range(1, max(columns, default=0) + 1):
            x = self.blocks[count - 1](x)
            if count in columns:
                outputs[columns[count]] = x
        return self._mixed(outputs)


def _takes_number(make_block: Callable[..., nn.Module]) -> bool:
    """Return whether a function has a parameter without default."""
    try:
        parameters = inspect.signature(make_block).parameters.values()
    except ValueError:  # a function without signature, written in C
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.default is p.empty and p.kind in kinds for p in parameters)
