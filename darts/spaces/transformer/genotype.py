"""The genotype of the transformer space: mixer and feed-forward layer of each block.

References:
    Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3: blocks of a layer that
    mixes words and one that looks at each word alone.
    So, Liang and Le, "The Evolved Transformer", arXiv:1901.11117: convolutions beside attention as
    what a search chooses from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.genotype_text import brief, checked, read_part

SPACE = "transformer"
"""The ``"space"`` that a genotype's JSON names."""

MIXERS: tuple[str, ...] = (
    "attention_2",
    "attention_4",
    "attention_8",
    "conv_3",
    "conv_7",
    "conv_15",
    "identity",
)
"""What mixes the words of a text, in the order of the alphas' columns: attention with 2, 4 or 8
heads, a depthwise convolution of 3, 7 or 15 words, or nothing."""

FEED_FORWARDS: tuple[str, ...] = ("relu_1", "relu_2", "relu_4", "gelu_1", "gelu_2", "gelu_4")
"""What looks at each word alone, likewise: the activation, and how many times wider than the words
the layer is inside."""


@dataclass(frozen=True)
class Genotype:
    """A transformer, block by block.

    State 0 of the chain is what the embeddings put out; each block adds two operations to it, a
    mixer and a feed-forward layer.

    Attributes:
        blocks: ``(mixer, feed-forward layer)`` of each block. Lists are turned into tuples.

    Raises:
        ValueError: no block, one that is no pair, or an unknown mixer or feed-forward layer.
    """

    blocks: tuple[tuple[str, str], ...]

    space: ClassVar[str] = SPACE
    cells: ClassVar[tuple[str, ...]] = ("blocks",)
    inputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if type(self.blocks) not in (list, tuple):
            raise ValueError(f"blocks must list pairs, not {brief(self.blocks)}")
        if not self.blocks:
            raise ValueError("a network of the transformer space has at least one block")
        for number, pair in enumerate(self.blocks):
            if type(pair) not in (list, tuple) or len(pair) != 2:
                raise ValueError(
                    f"block {number} is {brief(pair)}, not a pair of mixer and feed-forward layer"
                )
            _check_name(f"block {number}: unknown mixer", pair[0], MIXERS)
            _check_name(
                f"block {number}: unknown feed-forward layer", pair[1], FEED_FORWARDS
            )
        object.__setattr__(self, "blocks", tuple((first, then) for first, then in self.blocks))

    def nodes(self, cell: str = "blocks") -> int:
        """How many operations there are, two a block (``ValueError`` for an unknown cell)."""
        _check_cell(cell)
        return 2 * len(self.blocks)

    def concat(self, cell: str = "blocks") -> tuple[int, ...]:
        """The states that make the output: the last alone."""
        return (self.nodes(cell),)

    def edges(self, cell: str = "blocks") -> list[tuple[int, int, str]]:
        """``(state before, state behind, operation)`` of each operation."""
        _check_cell(cell)
        names = [name for pair in self.blocks for name in pair]
        return [(number, number + 1, name) for number, name in enumerate(names)]

    def count(self, operation: str, cell: str | None = None) -> int:
        """How many blocks have the mixer or feed-forward layer.

        Raises:
            ValueError: an unknown operation or cell.
        """
        _check_name("unknown operation", operation, MIXERS + FEED_FORWARDS)
        if cell is not None:
            _check_cell(cell)
        return sum(operation in pair for pair in self.blocks)

    def canonical(self) -> Genotype:
        """Itself: a network can be written in one way only."""
        return self

    def same_as(self, other: object) -> bool:
        """Whether both describe the same network."""
        return self == other

    def to_json(self) -> str:
        """JSON text, one line a block; ``parse`` reads it back to an equal genotype."""
        rows = ",\n".join(f"    {json.dumps(pair)}" for pair in self.blocks)
        return f'{{\n  "space": "{SPACE}",\n  "blocks": [\n{rows}\n  ]\n}}'

    def __str__(self) -> str:
        """JSON text in one line; ``parse`` reads it back to an equal genotype."""
        return json.dumps({"space": SPACE, "blocks": self.blocks})

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Read ``{"space": "transformer", "blocks": [["attention_4", "gelu_2"], ...]}``.

        Raises:
            ValueError: anything else, with a message of one line.
        """
        return cls(read_part(checked(text), SPACE, "blocks"))


def _check_name(what: str, name: object, known: tuple[str, ...]) -> None:
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{what} {brief(name)}; choose from {', '.join(known)}")


def _check_cell(cell: object) -> None:
    if cell not in Genotype.cells:
        raise ValueError(f"unknown cell {brief(cell)}; choose from {', '.join(Genotype.cells)}")
