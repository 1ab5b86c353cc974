"""Section of the article of a run of ``darts.find``: its result, its time and all trainings."""

from __future__ import annotations

from darts.reporting.charts import Line, chart, charts
from darts.reporting.labels import label
from darts.reporting.markup import collapsible, definition_table, paragraph, table, table_cell
from darts.reporting.record import RunRecord
from darts.reporting.sections import csv_cell, parse_number
from darts.tracking.formats import is_fraction

_STAGE = "seconds_"  # prefix of the times of the stages in summary.json


def render_candidates(record: RunRecord) -> str:
    """Return the outlook, the time of each stage, and the trainings."""
    summary = record.summary
    outlook = summary.get("outlook")
    parts = [paragraph(str(outlook))] if outlook else []
    times = {name: value for name, value in summary.items() if name.startswith(_STAGE)}
    if times:
        parts.append(
            definition_table(
                (label(name.removeprefix(_STAGE)), table_cell("seconds", value))
                for name, value in times.items()
            )
        )
    if record.candidates:
        parts.append(_render_trainings(record))
    return "".join(parts)


def _render_trainings(record: RunRecord) -> str:
    """Return the scores over the epochs, with baselines apart, and a table of all trainings."""
    names = list(record.candidates[0])
    score = f"valid_{record.metric}"
    groups: dict[str, list[tuple[float, float | None]]] = {"baselines": [], "found networks": []}
    for row in record.candidates:
        epochs = parse_number(row.get("epochs", ""))
        group = "baselines" if row.get("origin") == "baseline" else "found networks"
        if epochs is not None:
            groups[group].append((epochs, parse_number(row.get(score, ""))))
    lines = [Line(name, p, i, dots=True) for i, (name, p) in enumerate(groups.items()) if p]
    panel = chart(lines, f"{label(score)} of all trainings", percent=is_fraction(score))
    body = [[csv_cell(name, row.get(name, "")) for name in names] for row in record.candidates]
    return charts([panel]) + collapsible("All trainings", table(names, body))
