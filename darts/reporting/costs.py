"""Cost of a run on its page."""

from __future__ import annotations

from darts.reporting.markup import Cell, cell, paragraph, table
from darts.reporting.record import RunRecord
from darts.tracking import format_value
from darts.tracking.ledger import sum_phases

SOURCES_NOTE = (
    "Joules from different sources are neither compared nor added up: a counter covers a whole "
    "device, and an estimate depends on the assumed power."
)


def render_cost(record: RunRecord) -> str:
    """Return time, energy and emissions by phase and source."""
    numbers = record.numbers
    if not record.phases:
        if numbers.get("joules") is None:
            return ""
        text = (
            f"{format_value('seconds', numbers.get('seconds'))}, "
            f"{format_value('joules', numbers['joules'])} J "
            f"(source: {numbers.get('joules_source', 'unknown')})"
        )
        return paragraph(text if record.finished else f"So far: {text}")
    sums = sum_phases(record.phases)
    several = len(sums) > 1
    rows: list[list[Cell | str]] = [
        [
            cost["phase"],
            *([cost["source"]] if several else []),
            cell("seconds", cost["seconds"]),
            cell("joules", cost["joules"]),
            cell("gco2e", cost["gco2e"]),
        ]
        for cost in [*record.phases, *sums]
    ]
    head = ["phase", *(["source"] if several else []), "time", "joules", "g CO2e"]
    notes = [SOURCES_NOTE if several else f"Source of the joules: {sums[0]['source']}."]
    if record.gco2_per_kwh is not None:
        notes.append(f"CO2-equivalent at {record.gco2_per_kwh:g} g per kilowatt-hour.")
    return table(head, rows) + "".join(paragraph(note, "quiet") for note in notes)
