"""The importance of the edges of a network on the page of its evaluation."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from darts.judging.edge_importance import ImportanceFile
from darts.reading import JsonObject
from darts.reporting.labels import label
from darts.reporting.rendering import Cell
from darts.tracking.formats import is_fraction


class ImportanceTables(NamedTuple):
    """Score drops without edges, the largest first."""

    metric: str  # label of the score
    percent: bool  # whether the score is a fraction; its drops are in percentage points
    has_bridges: bool  # whether there are edges that cannot be removed
    by_edge: list[JsonObject]
    by_operation: list[JsonObject]


def importance_tables(importance: ImportanceFile) -> ImportanceTables:
    """Return the score drops without each edge, and without all edges with an operation."""
    metric = f"valid_{importance['metric']}"
    percent = is_fraction(metric)

    def drop_cell(drop: float) -> Cell:
        # Adding 0.0 turns -0.00 into +0.00.
        return Cell(f"{round(100 * drop, 2) + 0.0:+.2f}" if percent else f"{drop:+.4g}", drop)

    drops = [
        (edge["score_drop"], f"{cell} {edge['source']}→{edge['target']}", edge["operation"])
        for cell, edges in importance["edges"].items()
        for edge in edges
        if edge["score_drop"] is not None
    ]
    drops.sort(key=lambda row: -row[0])
    counts = Counter(operation for _, _, operation in drops)
    operations = sorted(importance["operations"].items(), key=lambda pair: -pair[1])
    return ImportanceTables(
        label(metric),
        percent,
        len(drops) < sum(map(len, importance["edges"].values())),
        [{"edge": edge, "operation": name, "drop": drop_cell(drop)} for drop, edge, name in drops],
        [{"operation": n, "edges": counts[n], "drop": drop_cell(drop)} for n, drop in operations],
    )
