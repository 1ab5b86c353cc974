"""The trials of a study, and the best point."""

from __future__ import annotations

import math
from collections.abc import Mapping

from darts.reporting.charts import Line, chart, charts
from darts.reporting.markup import Cell, cell, code_block, element, collapsible, definition_table, table
from darts.reporting.labels import is_percentage, label
from darts.reporting.run_record import RunRecord


def study(record: RunRecord) -> str:
    """The trials of a study."""
    if not record.trials:
        return ""
    parts = []
    if record.best:
        settings = record.best.get("parameters")
        found = settings.items() if isinstance(settings, Mapping) else ()
        parts.append(element("h4", "the best point"))
        parts.append(definition_table((str(k), cell(str(k), v)) for k, v in found))
        parts.append(code_block(str(record.best.get("command", ""))))
    names = list(dict.fromkeys(name for row in record.trials for name in row))
    score = next((n for n in (record.metric, f"valid_{record.metric}") if n in names), None)
    if score is not None:
        known = [
            (_number(row.get("trial", "")), _number(row.get(score, ""))) for row in record.trials
        ]
        dots = [(trial, value) for trial, value in known if trial is not None]
        panel = chart(
            [Line(score, dots, 0, dots=True)],
            label(score),
            percent=is_percentage(score),
            across_is="trial",
        )
        parts.append(charts([panel]))
    body = [[_of_csv(name, row.get(name, "")) for name in names] for row in record.trials]
    parts.append(collapsible("All trials", table(names, body)))
    return "".join(parts)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _of_csv(name: str, text: str) -> Cell:
    value = _number(text)
    if value is None:
        return Cell(text)
    return cell(name, int(value) if value.is_integer() and "." not in text else value)
