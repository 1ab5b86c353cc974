"""Published genotypes, and a reader of their files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from darts.spaces.any_genotype import AnyGenotype

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
