"""Trials of a study on its page, and the best point."""

from __future__ import annotations

import math
from collections.abc import Mapping

from darts.reporting.charts import Line, chart, charts
from darts.reporting.labels import is_percentage, label
from darts.reporting.markup import (
    Cell,
    cell,
    code_block,
    collapsible,
    definition_table,
    element,
    table,
)
from darts.reporting.record import RunRecord


def render_study(record: RunRecord) -> str:
    """Return the best point and the trials of a study."""
    if not record.trials:
        return ""
    parts = []
    if record.best:
        point = record.best.get("parameters")
        values = point.items() if isinstance(point, Mapping) else ()
        parts.append(element("h4", "best point"))
        parts.append(definition_table((str(k), cell(str(k), v)) for k, v in values))
        parts.append(code_block(str(record.best.get("command", ""))))
    names = list(dict.fromkeys(name for row in record.trials for name in row))
    score = next((n for n in (record.metric, f"valid_{record.metric}") if n in names), None)
    if score is not None:
        points = [
            (number, _parse_number(row.get(score, "")))
            for row in record.trials
            if (number := _parse_number(row.get("trial", ""))) is not None
        ]
        panel = chart(
            [Line(score, points, 0, dots=True)],
            label(score),
            percent=is_percentage(score),
            x_label="trial",
        )
        parts.append(charts([panel]))
    body = [[_csv_cell(name, row.get(name, "")) for name in names] for row in record.trials]
    parts.append(collapsible("All trials", table(names, body)))
    return "".join(parts)


def _parse_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _csv_cell(name: str, text: str) -> Cell:
    value = _parse_number(text)
    if value is None:
        return Cell(text)
    return cell(name, int(value) if value.is_integer() and "." not in text else value)
