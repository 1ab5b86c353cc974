"""Base class of published genotypes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.any_genotype import AnyGenotype


@dataclass(frozen=True, kw_only=True)
class PublishedGenotype(ABC):
    """A genotype from the literature with the results that its authors report.

    Attributes:
        name: name that commands accept.
        genotype: the architecture.
        paper: title of the paper.
        arxiv: arXiv identifier of the paper, such as ``"1806.09055"``.
        parameters_million: reported size in millions of parameters, or None.
        note: conditions of the reported results.
        measure: what ``result`` measures; the same for all genotypes of a space.
        title: title of the table of all published genotypes of a space.
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
