"""Published genotypes: their base class, and a reader of their files."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from darts.spaces.any_genotype import AnyGenotype


@dataclass(frozen=True, kw_only=True)
class PublishedGenotype(ABC):
    """A genotype from the literature with the results that its authors report.

    Attributes:
        parameters_million: Reported size in millions of parameters, or None.
        note: Conditions of the reported results.
        measure: What ``result`` measures; the same for all genotypes of a space.
        title: Title of the table of all published genotypes of a space.
    """

    name: str
    genotype: AnyGenotype
    paper: str
    arxiv: str
    parameters_million: float | None
    note: str = ""

    measure: ClassVar[str]
    title: ClassVar[str]

    @property
    @abstractmethod
    def result(self) -> str:
        """The reported result as text, or ``""``."""


Entry = TypeVar("Entry", bound=PublishedGenotype)


def read_published(
    module: str, entry: type[Entry], parse: Callable[[str], AnyGenotype]
) -> dict[str, Entry]:
    """Return the entries of the file ``published.json`` next to a module, by name."""
    rows = json.loads(Path(module).with_name("published.json").read_text(encoding="utf-8"))
    return {row["name"]: entry(**{**row, "genotype": parse(row["genotype"])}) for row in rows}
