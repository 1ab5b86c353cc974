"""Published recurrent cells by name, with the results that their authors report.

Perplexities and sizes are the papers' claims for Penn Treebank, not measurements of this code.

References:
    Table 2 of DARTS, arXiv:1806.09055.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.published import PublishedGenotype
from darts.spaces.recurrent.genotype import Genotype


@dataclass(frozen=True, kw_only=True)
class Published(PublishedGenotype):
    """One published cell.

    Attributes:
        valid_perplexity: reported perplexity on the validation split of Penn Treebank.
        test_perplexity: reported perplexity on its test split.
    """

    genotype: Genotype
    valid_perplexity: float
    test_perplexity: float

    measure: ClassVar[str] = "test perplexity"
    title: ClassVar[str] = "Published recurrent cells; perplexities on Penn Treebank as reported"

    @property
    def result(self) -> str:
        """The reported test perplexity as text."""
        return f"{self.test_perplexity:.1f}"


def _cell(nodes: str) -> tuple[tuple[str, int], ...]:
    """Parse ``"activation source, activation source, ..."``."""
    pairs = (node.split() for node in nodes.split(","))
    return tuple((activation, int(source)) for activation, source in pairs)


_ENTRIES = (
    Published(
        name="DARTS_RNN_V1",
        genotype=Genotype(
            _cell("relu 0, relu 1, tanh 2, relu 3, relu 4, identity 1, relu 5, relu 1"), range(1, 9)
        ),
        paper="DARTS: Differentiable Architecture Search",
        arxiv="1806.09055",
        valid_perplexity=60.2,
        test_perplexity=57.6,
        parameters_million=23,
        note="found by the first-order search; called DARTS_V1 in its authors' code",
    ),
    Published(
        name="DARTS_RNN_V2",
        genotype=Genotype(
            _cell("sigmoid 0, relu 1, relu 1, identity 1, tanh 2, sigmoid 5, tanh 3, relu 5"),
            range(1, 9),
        ),
        paper="DARTS: Differentiable Architecture Search",
        arxiv="1806.09055",
        valid_perplexity=58.1,
        test_perplexity=55.7,
        parameters_million=23,
        note="found by the second-order search; called DARTS_V2 in its authors' code",
    ),
    Published(
        name="ENAS_RNN",
        genotype=Genotype(
            _cell(
                "tanh 0, tanh 1, relu 1, tanh 3, tanh 3, relu 3, relu 4, relu 7, relu 8, relu 8, "
                "relu 8"
            ),
            (2, 5, 6, 9, 10, 11),
        ),
        paper="Efficient Neural Architecture Search via Parameter Sharing",
        arxiv="1802.03268",
        valid_perplexity=60.8,
        test_perplexity=58.6,
        parameters_million=24,
        note="as trained by the authors of DARTS, from their code; its own paper reports 55.8",
    ),
)

PUBLISHED: dict[str, Published] = {entry.name: entry for entry in _ENTRIES}
"""The published cells by name."""
