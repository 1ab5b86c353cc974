"""From mixing probabilities to a genotype of NAS-Bench-201: each edge's strongest operation.

References:
    Dong and Yang, "NAS-Bench-201", arXiv:2001.00326, section 5: all edges are kept, and ``none``
    competes with the other operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from darts.spaces.nas201.genotype import EDGES, Genotype
from darts.spaces.probabilities import checked_rows


def derive(
    probabilities: Mapping[str, Tensor], candidates: Mapping[str, Sequence[Sequence[str]]]
) -> Genotype:
    """Keep on each edge the most probable operation, which may be ``none``.

    Args:
        probabilities: ``{"cell": (6, columns)}``, on any device.
        candidates: ``{"cell": for each edge the operation of each column}``.

    Returns:
        The genotype. Ties go to the lower column.

    Raises:
        ValueError: other cells, a shape that does not fit the candidates, or values that are not
            finite or not within 0 and 1.
    """
    for what, mapping in (("probabilities", probabilities), ("candidates", candidates)):
        if set(mapping) != set(Genotype.cells):
            raise ValueError(f"{what} are for cells {sorted(mapping)}, not for cell")
    names = candidates["cell"]
    widths = {len(row) for row in names}
    if len(names) != len(EDGES) or len(widths) != 1 or not min(widths):
        raise ValueError(
            f"candidates of cell must be {len(EDGES)} rows of equal length, at least 1"
        )
    wanted = (len(EDGES), widths.pop())
    rows = checked_rows("cell", probabilities["cell"], wanted)
    # Lists, since max() keeps the first among equals.
    return Genotype.of(
        *(
            row[max(range(len(values)), key=values.__getitem__)]
            for row, values in zip(names, rows, strict=True)
        )
    )
