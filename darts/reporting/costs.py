"""Cost of a run on its page."""

from __future__ import annotations

import math

from darts.reporting.markup import Cell, cell, paragraph, table
from darts.reporting.record import RunRecord
from darts.tracking import format_value

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
    sources = list(dict.fromkeys(phase["source"] for phase in record.phases))
    several = len(sources) > 1

    def row(
        name: str, source: str, seconds: float, joules: float, gco2e: float
    ) -> list[Cell | str]:
        columns: list[Cell | str] = [source] if several else []
        values = [cell("seconds", seconds), cell("joules", joules), cell("gco2e", gco2e)]
        return [name, *columns, *values]

    rows = [
        row(phase["phase"], phase["source"], phase["seconds"], phase["joules"], phase["gco2e"])
        for phase in record.phases
    ]
    for source in sources:
        phases = [phase for phase in record.phases if phase["source"] == source]
        seconds = math.fsum(phase["seconds"] for phase in phases)
        joules = math.fsum(phase["joules"] for phase in phases)
        gco2e = math.fsum(phase["gco2e"] for phase in phases)
        rows.append(row("all phases", source, seconds, joules, gco2e))
    head = ["phase", *(["source"] if several else []), "time", "joules", "g CO2e"]
    notes = [SOURCES_NOTE if several else f"Source of the joules: {sources[0]}."]
    if record.gco2_per_kwh is not None:
        notes.append(f"CO2-equivalent at {record.gco2_per_kwh:g} g per kilowatt-hour.")
    return table(head, rows) + "".join(paragraph(note, "quiet") for note in notes)
