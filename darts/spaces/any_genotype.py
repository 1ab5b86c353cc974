"""Base classes of genotypes, and genotypes from the literature."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from darts.spaces.genotype_text import check_name, read_json, strip_text, write_json


class AnyGenotype(ABC):
    """Base class of the genotypes of all spaces. Genotypes are immutable and hashable.

    A genotype consists of cells. The states of a cell are numbered: the first ``inputs`` states are
    its inputs, the following states are its nodes.

    Attributes:
        vocabulary: Names of all operations; empty if the space has too many operations to list.
    """

    space: ClassVar[str]
    cells: ClassVar[tuple[str, ...]]
    inputs: ClassVar[int]
    vocabulary: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def edges(self, cell: str | None = None) -> list[tuple[int, int, str]]:
        """Return ``(source state, target state, operation)`` of each edge of a cell.

        The edges are ordered by target. None stands for the only cell.
        """

    def nodes(self, cell: str | None = None) -> int:
        """Return the number of nodes of a cell, without its inputs."""
        return self.edges(cell)[-1][1] - self.inputs + 1

    def concat(self, cell: str | None = None) -> tuple[int, ...]:
        """Return the states that form the output of a cell, by default the last one."""
        return (self.edges(cell)[-1][1],)

    @abstractmethod
    def to_json(self) -> str:
        """Return JSON text that ``parse`` turns into an equal genotype."""

    def __str__(self) -> str:
        """Return text in one line that ``parse`` turns into an equal genotype."""
        return json.dumps(json.loads(self.to_json()))

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> AnyGenotype:
        """Parse text in a notation of the space; raise ValueError, in one line, for other text."""

    def count(self, operation: str, cell: str | None = None) -> int:
        """Return the number of edges of a cell, or of all cells, with an operation."""
        self.check_operation(operation)
        cells = self.cells if cell is None else (cell,)
        return sum(name == operation for c in cells for _, _, name in self.edges(c))

    def canonical(self) -> AnyGenotype:
        """Return the standard form, which is equal for all genotypes of one architecture."""
        return self

    def simplified(self) -> AnyGenotype:
        """Return a genotype of the same function, with fewer operations that have no effect.

        These are not on any path of operations from an input to the output.
        """
        return self

    @property
    def function(self) -> str:
        """A text; if it is equal for two genotypes, their networks compute the same functions."""
        return str(self.simplified().canonical())

    @classmethod
    def check_cell(cls, cell: str | None) -> str:
        """Return ``cell``, or the only cell for None; raise ValueError for an unknown cell."""
        if cell is None and len(cls.cells) == 1:
            return cls.cells[0]
        return check_name("unknown cell", cell, cls.cells)

    @classmethod
    def check_operation(cls, name: object) -> None:
        """Raise ValueError for a name not in ``vocabulary``; an empty ``vocabulary`` allows all."""
        if cls.vocabulary:
            check_name("unknown operation", name, cls.vocabulary)


class ChainGenotype(AnyGenotype):
    """Base class of genotypes with one cell that is a sequence of operations.

    A subclass is a frozen dataclass. Its first field has the name of the cell and lists the
    operations; so does the JSON text. State 0 is the input, state ``i + 1`` the output of operation
    ``i``. The last state is the output.
    """

    inputs: ClassVar[int] = 1

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the operations, from input to output."""
        names: tuple[str, ...] = getattr(self, self.cells[0])
        return names

    def edges(self, cell: str | None = None) -> list[tuple[int, int, str]]:
        self.check_cell(cell)
        return [(state, state + 1, name) for state, name in enumerate(self.operations)]

    @property
    def json_lines(self) -> Sequence[Sequence[object]]:
        """What each line of the JSON text lists."""
        return [self.operations]

    def to_json(self) -> str:
        return write_json(self.space, {self.cells[0]: self.json_lines})

    @classmethod
    def parse(cls: type[Chain], text: str) -> Chain:
        make: Any = cls  # the dataclasses declare the arguments
        genotype: Chain = make(read_json(strip_text(text), cls.space, cls.cells)[cls.cells[0]])
        return genotype


Chain = TypeVar("Chain", bound=ChainGenotype)
G = TypeVar("G", bound=AnyGenotype, covariant=True)


@dataclass(frozen=True, kw_only=True)
class PublishedGenotype(Generic[G]):
    """A genotype from the literature with the result that its authors report.

    Attributes:
        measure: What ``result`` measures; the same for all genotypes of a space.
        result: For example ``2.76 ± 0.09``, or ``""``.
        note: Conditions of the result.
    """

    name: str
    genotype: G
    paper: str
    arxiv: str
    measure: str
    result: str
    parameters_million: float | None
    note: str = ""


def read_published(
    module: str, measure: str, parse: Callable[[str], G]
) -> dict[str, PublishedGenotype[G]]:
    """Return the entries of the file ``published.json`` next to a module, by name."""
    rows = json.loads(Path(module).with_name("published.json").read_text(encoding="utf-8"))
    return {
        row["name"]: PublishedGenotype(genotype=parse(row.pop("genotype")), measure=measure, **row)
        for row in rows
    }
