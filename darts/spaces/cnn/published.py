"""Published cells by name, with the results that their authors report.

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
from darts.spaces.published import PublishedGenotype


@dataclass(frozen=True, kw_only=True)
class Published(PublishedGenotype):
    """One published architecture.

    Attributes:
        test_error: reported CIFAR-10 test error in percent, or None.
        deviation: reported standard deviation of the error in percent, or None.
    """

    genotype: Genotype
    test_error: float | None
    deviation: float | None

    measure: ClassVar[str] = "test error %"
    title: ClassVar[str] = "Published genotypes; errors on CIFAR-10 as reported"

    @property
    def result(self) -> str:
        """The reported test error and its deviation as text, or ``""``."""
        if self.test_error is None:
            return ""
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.test_error:.2f}{spread}"


def _cell(*nodes: str) -> tuple[tuple[str, int], ...]:
    """Return the edges of a cell from one string per node, ``"operation source, ..."``."""
    pairs = (edge.split() for node in nodes for edge in node.split(","))
    return tuple((operation, int(source)) for operation, source in pairs)


_ALL = (2, 3, 4, 5)

_ENTRIES = (
    Published(
        name="NASNET",
        genotype=Genotype(
            normal=_cell(
                "sep_conv_5x5 1, sep_conv_3x3 0",
                "sep_conv_5x5 0, sep_conv_3x3 0",
                "avg_pool_3x3 1, skip_connect 0",
                "avg_pool_3x3 0, avg_pool_3x3 0",
                "sep_conv_3x3 1, skip_connect 1",
            ),
            normal_concat=(2, 3, 4, 5, 6),
            reduce=_cell(
                "sep_conv_5x5 1, sep_conv_7x7 0",
                "max_pool_3x3 1, sep_conv_7x7 0",
                "avg_pool_3x3 1, sep_conv_5x5 0",
                "skip_connect 3, avg_pool_3x3 2",
                "sep_conv_3x3 2, max_pool_3x3 1",
            ),
            reduce_concat=(4, 5, 6),
        ),
        paper="Learning Transferable Architectures for Scalable Image Recognition",
        arxiv="1707.07012",
        test_error=2.65,
        deviation=None,
        parameters_million=3.3,
        note="NASNet-A, its own network; 2.83 % at 3.1 M when retrained by the authors of DARTS",
    ),
    Published(
        name="AMOEBANET",
        genotype=Genotype(
            normal=_cell(
                "avg_pool_3x3 0, max_pool_3x3 1",
                "sep_conv_3x3 0, sep_conv_5x5 2",
                "sep_conv_3x3 0, avg_pool_3x3 3",
                "sep_conv_3x3 1, skip_connect 1",
                "skip_connect 0, avg_pool_3x3 1",
            ),
            normal_concat=(4, 5, 6),
            reduce=_cell(
                "avg_pool_3x3 0, sep_conv_3x3 1",
                "max_pool_3x3 0, sep_conv_7x7 2",
                "sep_conv_7x7 0, avg_pool_3x3 1",
                "max_pool_3x3 0, max_pool_3x3 1",
                "conv_7x1_1x7 0, sep_conv_3x3 5",
            ),
            reduce_concat=(3, 4, 6),
        ),
        paper="Regularized Evolution for Image Classifier Architecture Search",
        arxiv="1802.01548",
        test_error=3.12,
        deviation=None,
        parameters_million=3.1,
        note="AmoebaNet-A, retrained by the authors of DARTS; its own paper reports 3.34 ± 0.06 % "
        "at 3.2 M without cutout",
    ),
    Published(
        name="DARTS_V1",
        genotype=Genotype(
            normal=_cell(
                "sep_conv_3x3 1, sep_conv_3x3 0",
                "skip_connect 0, sep_conv_3x3 1",
                "skip_connect 0, sep_conv_3x3 1",
                "sep_conv_3x3 0, skip_connect 2",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "max_pool_3x3 0, max_pool_3x3 1",
                "skip_connect 2, max_pool_3x3 0",
                "max_pool_3x3 0, skip_connect 2",
                "skip_connect 2, avg_pool_3x3 0",
            ),
            reduce_concat=_ALL,
        ),
        paper="DARTS: Differentiable Architecture Search",
        arxiv="1806.09055",
        test_error=3.00,
        deviation=0.14,
        parameters_million=3.3,
        note="found by the first-order search",
    ),
    Published(
        name="DARTS_V2",
        genotype=Genotype(
            normal=_cell(
                "sep_conv_3x3 0, sep_conv_3x3 1",
                "sep_conv_3x3 0, sep_conv_3x3 1",
                "sep_conv_3x3 1, skip_connect 0",
                "skip_connect 0, dil_conv_3x3 2",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "max_pool_3x3 0, max_pool_3x3 1",
                "skip_connect 2, max_pool_3x3 1",
                "max_pool_3x3 0, skip_connect 2",
                "skip_connect 2, max_pool_3x3 1",
            ),
            reduce_concat=_ALL,
        ),
        paper="DARTS: Differentiable Architecture Search",
        arxiv="1806.09055",
        test_error=2.76,
        deviation=0.09,
        parameters_million=3.3,
        note="found by the second-order search",
    ),
    Published(
        name="SNAS_MILD",
        genotype=Genotype(
            normal=_cell(
                "sep_conv_3x3 0, sep_conv_3x3 1",
                "skip_connect 0, dil_conv_3x3 1",
                "skip_connect 1, skip_connect 0",
                "skip_connect 0, sep_conv_3x3 1",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "max_pool_3x3 0, max_pool_3x3 1",
                "max_pool_3x3 1, skip_connect 2",
                "skip_connect 2, max_pool_3x3 1",
                "max_pool_3x3 0, dil_conv_5x5 2",
            ),
            reduce_concat=_ALL,
        ),
        paper="SNAS: Stochastic Neural Architecture Search",
        arxiv="1812.09926",
        test_error=None,
        deviation=None,
        parameters_million=None,
        note="the cell found under the mild resource constraint; see the paper for its error",
    ),
    Published(
        name="GDAS",
        genotype=Genotype(
            normal=_cell(
                "skip_connect 0, skip_connect 1",
                "skip_connect 0, sep_conv_5x5 2",
                "sep_conv_3x3 3, skip_connect 0",
                "sep_conv_5x5 4, sep_conv_3x3 3",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "sep_conv_5x5 0, sep_conv_3x3 1",
                "sep_conv_5x5 2, sep_conv_5x5 1",
                "dil_conv_5x5 2, sep_conv_3x3 1",
                "sep_conv_5x5 0, sep_conv_5x5 1",
            ),
            reduce_concat=_ALL,
        ),
        paper="Searching for a Robust Neural Architecture in Four GPU Hours",
        arxiv="1910.04465",
        test_error=2.93,
        deviation=None,
        parameters_million=3.4,
        note="called GDAS_V1 in its authors' code",
    ),
    Published(
        name="PDARTS",
        genotype=Genotype(
            normal=_cell(
                "skip_connect 0, dil_conv_3x3 1",
                "skip_connect 0, sep_conv_3x3 1",
                "sep_conv_3x3 1, sep_conv_3x3 3",
                "sep_conv_3x3 0, dil_conv_5x5 4",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "avg_pool_3x3 0, sep_conv_5x5 1",
                "sep_conv_3x3 0, dil_conv_5x5 2",
                "max_pool_3x3 0, dil_conv_3x3 1",
                "dil_conv_3x3 1, dil_conv_5x5 3",
            ),
            reduce_concat=_ALL,
        ),
        paper="Progressive Differentiable Architecture Search",
        arxiv="1904.12760",
        test_error=2.50,
        deviation=None,
        parameters_million=3.4,
        note="searched on CIFAR-10",
    ),
    Published(
        name="PC_DARTS_CIFAR",
        genotype=Genotype(
            normal=_cell(
                "sep_conv_3x3 1, skip_connect 0",
                "sep_conv_3x3 0, dil_conv_3x3 1",
                "sep_conv_5x5 0, sep_conv_3x3 1",
                "avg_pool_3x3 0, dil_conv_3x3 1",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "sep_conv_5x5 1, max_pool_3x3 0",
                "sep_conv_5x5 1, sep_conv_5x5 2",
                "sep_conv_3x3 0, sep_conv_3x3 3",
                "sep_conv_3x3 1, sep_conv_3x3 2",
            ),
            reduce_concat=_ALL,
        ),
        paper="PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search",
        arxiv="1907.05737",
        test_error=2.57,
        deviation=0.07,
        parameters_million=3.6,
        note="searched on CIFAR-10",
    ),
    Published(
        name="PC_DARTS_IMAGENET",
        genotype=Genotype(
            normal=_cell(
                "skip_connect 1, sep_conv_3x3 0",
                "sep_conv_3x3 0, skip_connect 1",
                "sep_conv_3x3 1, sep_conv_3x3 3",
                "sep_conv_3x3 1, dil_conv_5x5 4",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "sep_conv_3x3 0, skip_connect 1",
                "dil_conv_5x5 2, max_pool_3x3 1",
                "sep_conv_3x3 2, sep_conv_3x3 1",
                "sep_conv_5x5 0, sep_conv_3x3 3",
            ),
            reduce_concat=_ALL,
        ),
        paper="PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search",
        arxiv="1907.05737",
        test_error=None,
        deviation=None,
        parameters_million=5.3,
        note="searched on ImageNet: 24.2 % top-1 error there in the mobile context, at 5.3 M",
    ),
    Published(
        name="SGAS",
        genotype=Genotype(
            normal=_cell(
                "sep_conv_3x3 0, dil_conv_3x3 1",
                "sep_conv_3x3 0, sep_conv_3x3 1",
                "sep_conv_5x5 1, sep_conv_5x5 3",
                "skip_connect 0, dil_conv_5x5 2",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "max_pool_3x3 0, dil_conv_5x5 1",
                "sep_conv_3x3 0, skip_connect 2",
                "sep_conv_3x3 1, skip_connect 2",
                "max_pool_3x3 0, max_pool_3x3 1",
            ),
            reduce_concat=_ALL,
        ),
        paper="SGAS: Sequential Greedy Architecture Search",
        arxiv="1912.00195",
        test_error=2.39,
        deviation=None,
        parameters_million=3.8,
        note="criterion 1, the best of ten searches by test error; their mean is 2.66 ± 0.24 %",
    ),
    Published(
        name="DRNAS_CIFAR",
        genotype=Genotype(
            normal=_cell(
                "sep_conv_3x3 0, sep_conv_5x5 1",
                "sep_conv_3x3 1, sep_conv_3x3 2",
                "skip_connect 0, sep_conv_3x3 1",
                "sep_conv_3x3 2, dil_conv_5x5 3",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "max_pool_3x3 0, sep_conv_5x5 1",
                "dil_conv_5x5 2, sep_conv_5x5 1",
                "sep_conv_5x5 1, dil_conv_5x5 3",
                "skip_connect 4, sep_conv_5x5 1",
            ),
            reduce_concat=_ALL,
        ),
        paper="DrNAS: Dirichlet Neural Architecture Search",
        arxiv="2006.10355",
        test_error=2.46,
        deviation=None,
        parameters_million=4.1,
        note="searched on CIFAR-10 with progressive learning",
    ),
    Published(
        name="DRNAS_IMAGENET",
        genotype=Genotype(
            normal=_cell(
                "sep_conv_3x3 1, sep_conv_3x3 0",
                "sep_conv_3x3 0, sep_conv_3x3 1",
                "sep_conv_3x3 0, dil_conv_3x3 3",
                "skip_connect 0, sep_conv_3x3 1",
            ),
            normal_concat=_ALL,
            reduce=_cell(
                "max_pool_3x3 0, sep_conv_3x3 1",
                "sep_conv_3x3 0, skip_connect 2",
                "sep_conv_3x3 0, sep_conv_3x3 2",
                "sep_conv_3x3 3, sep_conv_3x3 1",
            ),
            reduce_concat=_ALL,
        ),
        paper="DrNAS: Dirichlet Neural Architecture Search",
        arxiv="2006.10355",
        test_error=None,
        deviation=None,
        parameters_million=5.7,
        note="searched on ImageNet: 23.7 % top-1 error there in the mobile context, at 5.7 M",
    ),
)

PUBLISHED: dict[str, Published] = {entry.name: entry for entry in _ENTRIES}
"""The published architectures by name."""
