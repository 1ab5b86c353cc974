"""Sections of the article of a run: trials, curves, collapse checks, cost, reproduction."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from darts.config.overrides import is_plain_override
from darts.reading import JsonObject
from darts.reporting.charts import Line, chart, charts
from darts.reporting.labels import label
from darts.reporting.markup import (
    Row,
    TableCell,
    code_block,
    collapsible,
    definition_table,
    element,
    paragraph,
    table,
    table_cell,
)
from darts.reporting.record import RunRecord
from darts.tracking import format_value
from darts.tracking.formats import is_fraction
from darts.tracking.ledger import sum_phases

SOURCES_NOTE = (
    "Joules from different sources are neither compared nor added up: a counter covers a whole "
    "device, and an estimate depends on the assumed power."
)


def render_study(record: RunRecord) -> str:
    """Return the best point and the trials of a study."""
    if not record.trials:
        return ""
    parts = []
    if record.best is not None:
        values = record.best.parameters.items()
        parts.append(element("h4", "best point"))
        parts.append(definition_table((name, table_cell(name, value)) for name, value in values))
        if record.best.command is not None:
            parts.append(code_block(record.best.command))
    names = list(dict.fromkeys(name for row in record.trials for name in row))
    score = next((n for n in (record.metric, f"valid_{record.metric}") if n in names), None)
    if score is not None:
        points = [
            (number, parse_number(row.get(score, "")))
            for row in record.trials
            if (number := parse_number(row.get("trial", ""))) is not None
        ]
        line, percent = Line(score, points, dots=True), is_fraction(score)
        parts.append(charts([chart([line], label(score), percent=percent, x_label="trial")]))
    body = [[csv_cell(name, row.get(name, "")) for name in names] for row in record.trials]
    parts.append(collapsible("All trials", table(names, body)))
    return "".join(parts)


def parse_number(text: str) -> float | None:
    """Return a finite number, or None if the text is anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def csv_cell(name: str, text: str) -> TableCell:
    """Return the table cell of a value in a CSV file; integers are formatted as integers."""
    value = parse_number(text)
    if value is None:
        return TableCell(text)
    return table_cell(name, int(value) if value.is_integer() and "." not in text else value)


def render_curves(record: RunRecord) -> str:
    """Return panels of metrics over the epochs; training and validation share a panel.

    The loss and the steering metric are shown, all other curves on a click.
    """
    rows = record.rows
    numeric = (n for row in rows for n, value in row.items() if isinstance(value, (int, float)))
    names = list(dict.fromkeys(numeric))
    metrics = dict.fromkeys(
        n.partition("_")[2] for n in names if n.startswith(("train_", "valid_"))
    )
    panels = {}
    for metric in metrics:
        lines = [
            Line(split, column_over_epochs(rows, f"{split}_{metric}"), number)
            for number, split in enumerate(("train", "valid"))
            if f"{split}_{metric}" in names
        ]
        panels[metric] = chart(lines, label(metric), percent=is_fraction(metric))
    first = [metric for metric in dict.fromkeys(("loss", record.metric)) if metric in metrics]
    others = [panel for metric, panel in panels.items() if metric not in first]
    norms = [name for name in ("grad_norm", "arch_grad_norm") if name in names]
    lines = [Line(label(name), column_over_epochs(rows, name), i) for i, name in enumerate(norms)]
    others.append(chart(lines, "gradient norm"))
    others.append(chart([Line("lr", column_over_epochs(rows, "lr"))], "learning rate"))
    shown = charts(panels[metric] for metric in first)
    return shown + collapsible("Other curves", charts(others))


def column_over_epochs(rows: Sequence[JsonObject], name: str) -> list[tuple[float, float | None]]:
    """Return ``(epoch, value)`` of each row for a column of metrics.jsonl."""
    return [(row["epoch"], row.get(name)) for row in rows]


def render_collapse_checks(record: RunRecord) -> str:
    """Return the verdict of the last collapse check of a search, and the curves of all checks."""
    checks = [row for row in record.rows if "collapse_verdict" in row]
    if not checks:
        return ""
    verdict = str(record.numbers.get("collapse_verdict", checks[-1]["collapse_verdict"]))
    healthy = record.numbers.get("collapse_healthy_epoch", checks[-1].get("collapse_healthy_epoch"))
    text = "No check was healthy." if healthy is None else f"Last healthy check: epoch {healthy}."
    parts = [paragraph(verdict, "" if verdict == "healthy" else "warn"), paragraph(text)]
    names = [
        n for n in dict.fromkeys(n for row in checks for n in row) if n.startswith("collapse/")
    ]
    scores = [n for n in names if n.startswith(("collapse/supernet_", "collapse/path_"))]
    texts = {n: label(n.removeprefix("collapse/")) for n in names}
    lines = [Line(texts[n], column_over_epochs(checks, n), i) for i, n in enumerate(scores)]
    title = "score of the supernet, and of the genotype's path in it"
    panels = [chart(lines, title, percent=all(map(is_fraction, scores)))]
    skips = [n for n in names if n.endswith("/skips")]
    lines = [Line(n.split("/")[1], column_over_epochs(checks, n), i) for i, n in enumerate(skips)]
    panels.append(chart(lines, "skip connections in the genotype", counts=True))
    for name, title, percent in (
        ("collapse/eigenvalue", "largest eigenvalue of the alphas' Hessian", False),
        ("collapse/gap", "fraction of the supernet's score that the path loses", True),
    ):
        line = Line(title, column_over_epochs(checks, name))
        panels.append(chart([line], title, percent=percent))
    head = ("epoch", "verdict", *texts.values())
    body: list[Row] = [
        [
            table_cell("epoch", row["epoch"]),
            str(row["collapse_verdict"]),
            *(table_cell(n, row.get(n)) for n in names),
        ]
        for row in checks
    ]
    return "".join(parts) + charts(panels) + collapsible("All checks", table(head, body))


def render_cost(record: RunRecord) -> str:
    """Return time, joules and emissions by phase and source; in total if energy.json is missing."""
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
    rows: list[Row] = [
        [
            cost["phase"],
            *([cost["source"]] if several else []),
            *(table_cell(name, cost[name]) for name in ("seconds", "joules", "gco2e")),
        ]
        for cost in [*record.phases, *sums]
    ]
    head = ["phase", *(["source"] if several else []), "time", "joules", "g CO2e"]
    notes = [SOURCES_NOTE if several else f"Source of the joules: {sums[0]['source']}."]
    if record.gco2_per_kwh is not None:
        notes.append(f"CO2-equivalent at {record.gco2_per_kwh:g} g per kilowatt-hour.")
    return table(head, rows) + "".join(paragraph(note, "quiet") for note in notes)


def render_reproduction(record: RunRecord) -> str:
    """Return the command of the run, its seed, git revision and environment."""
    env = record.env
    revision = env.git_revision or record.summary.get("git_revision")
    values: dict[str, object] = {"seed": record.config.get("seed"), "git revision": revision}
    if env.git_dirty:
        values["git revision"] = f"{revision} with uncommitted changes"
    values["started"] = env.started
    values |= env.properties
    return _render_command(record) + definition_table(
        (name, str(value)) for name, value in values.items() if value is not None
    )


def _render_command(record: RunRecord) -> str:
    """Return the command that began the run.

    A reader will copy it, and the file may be untrusted. Overrides that do more than set a key
    of the configuration are therefore left out.
    """
    if record.overrides is None:
        return ""
    plain = [
        override for override in record.overrides if is_plain_override(override.removeprefix("++"))
    ]
    words = ["python", "-m", f"darts.{record.command}", *plain]
    omitted = len(record.overrides) - len(plain)
    note = f"Left out, because they do more than set a key: {omitted} overrides."
    return code_block(shlex.join(words)) + (paragraph(note, "warn") if omitted else "")
