"""Published cells with the results that their authors report; ``published.json`` lists them.

Errors and sizes are the papers' claims for the CIFAR-10 network (36 channels, 20 cells, cutout,
unless a note says otherwise), not measurements of this code.

References:
    DARTS, arXiv:1806.09055, table 1: results of NASNet-A, AmoebaNet-A and DARTS. The other entries
    name their own papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darts.spaces.genotype import Genotype
from darts.spaces.published import PublishedGenotype, read_published


@dataclass(frozen=True, kw_only=True)
class Published(PublishedGenotype):
    """One published architecture.

    Attributes:
        test_error: Reported CIFAR-10 test error in percent, or None.
        deviation: Reported standard deviation of the error in percent, or None.
    """

    genotype: Genotype
    test_error: float | None
    deviation: float | None

    measure: ClassVar[str] = "test error %"
    title: ClassVar[str] = "Published genotypes; errors on CIFAR-10 as reported"

    @property
    def result(self) -> str:
        if self.test_error is None:
            return ""
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.test_error:.2f}{spread}"


PUBLISHED = read_published(__file__, Published, Genotype.parse)
