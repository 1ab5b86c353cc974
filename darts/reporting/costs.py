"""What a run has cost, how it was configured, and how to run it again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

from darts.reporting.markup import Cell, cell, code_block, collapsible, definition_table, paragraph, table
from darts.reporting.run_record import RunRecord
from darts.tracking import format_value

SOURCES = (
    "Joules of different sources are not compared or added up: a counter reads a whole device, "
    "an estimate is as good as its power."
)


def cost(record: RunRecord) -> str:
    """Seconds and joules by phase and source."""
    numbers = record.numbers
    if not record.phases:
        if numbers.get("joules") is None:
            return ""
        told = (
            f"{format_value('seconds', numbers.get('seconds'))}, {format_value('joules', numbers['joules'])}"
            f" J ({numbers.get('joules_source', 'source unknown')})"
        )
        return paragraph(told if record.finished else f"So far: {told}")
    columns = ("seconds", "joules", "gco2e")
    sources = list(dict.fromkeys(str(entry.get("source")) for entry in record.phases))
    several = len(sources) > 1
    rows: list[list[Cell | str]] = []
    for entry in record.phases:
        numbers_of = [cell(column, entry.get(column)) for column in columns]
        where = [str(entry.get("source"))] if several else []
        rows.append([str(entry.get("phase")), *where, *numbers_of])
    for source in sources:
        own = [entry for entry in record.phases if str(entry.get("source")) == source]
        sums = {column: math.fsum(entry.get(column) or 0.0 for entry in own) for column in columns}
        where = [source] if several else []
        rows.append(["all phases", *where, *(cell(column, sums[column]) for column in columns)])
    heads = ("phase", *(["source of the joules"] if several else []), "time", "joules", "g CO2e")
    found = table(heads, rows)
    notes = [SOURCES if several else f"Source of the joules: {sources[0]}."]
    if record.gco2_per_kwh is not None:
        notes.append(f"CO2-equivalent at {record.gco2_per_kwh:g} g a kilowatt-hour.")
    return found + "".join(paragraph(note, "quiet") for note in notes)


def configuration(record: RunRecord) -> str:
    """The whole YAML."""
    return collapsible("config.yaml", code_block(record.config_text))


def reproduction(record: RunRecord) -> str:
    """The command, and what it ran on."""
    env = record.env
    parts = []
    if record.overrides is not None:
        given = " ".join(shlex.quote(override) for override in record.overrides)
        parts.append(code_block(f"python -m darts.{record.command} {given}".rstrip()))
    revision = env.get("git_revision") or record.summary.get("git_revision")
    known: dict[str, Any] = {"seed": record.config.get("seed"), "git revision": revision}
    if env.get("git_dirty"):
        known["git revision"] = f"{revision} with changes that were not committed"
    known["started"] = env.get("started")
    known |= environment(record)
    rows = [(name, str(value)) for name, value in known.items() if value is not None]
    return "".join(parts) + definition_table(rows)


def environment(record: RunRecord) -> dict[str, str]:
    """Software and hardware, by name."""
    env = record.env
    found = {"python": env.get("python"), "platform": env.get("platform")}
    versions = env.get("versions")
    found |= dict(versions) if isinstance(versions, Mapping) else {}
    processor, cuda = env.get("cpu"), env.get("cuda")
    if isinstance(processor, Mapping):
        counts = [f"{processor.get(name)} {name}" for name in ("cores", "threads")]
        # One core, one thread.
        counts = [text.removesuffix("s") if text.startswith("1 ") else text for text in counts]
        found["processor"] = ", ".join([str(processor.get("model")), *counts])
    if isinstance(cuda, Mapping):
        found["CUDA"] = f"{cuda.get('version')}, {', '.join(map(str, cuda.get('devices') or ()))}"
    return {name: str(value) for name, value in found.items() if value is not None}
