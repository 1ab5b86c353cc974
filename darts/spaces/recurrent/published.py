"""Published recurrent cells with the results that their authors report, in ``published.json``.

Perplexities and sizes are the papers' claims for Penn Treebank, not measurements of this code.

References:
    Table 2 of DARTS, arXiv:1806.09055.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.published import PublishedGenotype, read_published
from darts.spaces.recurrent.genotype import Genotype


@dataclass(frozen=True, kw_only=True)
class Published(PublishedGenotype):
    """One published cell.

    Attributes:
        valid_perplexity: Reported perplexity on the validation split of Penn Treebank.
        test_perplexity: Reported perplexity on its test split.
    """

    genotype: Genotype
    valid_perplexity: float
    test_perplexity: float

    measure: ClassVar[str] = "test perplexity"
    title: ClassVar[str] = "Published recurrent cells; perplexities on Penn Treebank as reported"

    @property
    def result(self) -> str:
        return f"{self.test_perplexity:.1f}"


PUBLISHED = read_published(__file__, Published, Genotype.parse)
