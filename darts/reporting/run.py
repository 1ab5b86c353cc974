"""The article of one run on a page. Sections without data are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from darts.escaping import for_html
from darts.reporting.alphas import render_alphas
from darts.reporting.architecture import render_architecture, render_edge_importance
from darts.reporting.finding import render_race
from darts.reporting.labels import headline_metrics, label
from darts.reporting.markup import (
    Row,
    code_block,
    collapsible,
    definition_table,
    element,
    image,
    paragraph,
    section,
    table,
    table_cell,
    tiles,
)
from darts.reporting.parts import part
from darts.reporting.record import RunRecord
from darts.reporting.sections import (
    csv_cell,
    render_collapse_checks,
    render_cost,
    render_curves,
    render_reproduction,
    render_study,
)
from darts.reporting.verdict import render_verdict
from darts.tracking import format_value

NamedRuns = Mapping[str, RunRecord]
"""Runs by their names on the page."""


def render_run(record: RunRecord, name: str, anchor: str, evaluations: NamedRuns) -> str:
    """Return the article of a run.

    Args:
        record: The run.
        name: Name of the run on the page.
        anchor: Id of the article, with which all ids in it start.
        evaluations: Evaluations of the run's network, which are part of the article.
    """
    state = "state" if record.finished else "state warn"
    head = element("h2", for_html(name))
    head += element("span", for_html(f"{record.command}: {record.progress}"), class_=state)
    head += "".join(paragraph(note, "warn") for note in record.notes)
    config = code_block(record.config_text, keep_lines=True)
    parts: dict[str, Callable[[], str]] = {
        "race": lambda: render_race(record, anchor),
        "architecture": lambda: render_architecture(record, anchor),
        "front": lambda: _render_front(record),
        "edge importance": lambda: _render_importances({name: record, **evaluations}, anchor),
        "trials": lambda: render_study(record),
        "probabilities of the operations": lambda: render_alphas(record),
        "learning curves": lambda: render_curves(record),
        "collapse checks": lambda: render_collapse_checks(record),
        "confusion matrix": lambda: _render_confusion(record),
        "evaluations": lambda: _render_evaluations(evaluations),
        "cost": lambda: render_cost(record),
        "configuration": lambda: collapsible("config.yaml", config),
        "reproduction": lambda: render_reproduction(record),
    }
    ids = {"evaluations": {"id": f"{anchor}-evaluations"}}
    sections = (
        section(title, part(title, render), **ids.get(title, {})) for title, render in parts.items()
    )
    opening = part("verdict", lambda: render_verdict(record))
    results = part("results", lambda: _render_results(record))
    return element("article", head + opening + results + "".join(sections), id=anchor)


def _render_results(record: RunRecord) -> str:
    """Return the most important numbers of a run, and all of them on a click."""
    numbers = record.numbers
    if not (numbers or record.trials or record.race):
        return paragraph("No epoch has finished yet.", "warn")
    shown = tiles((label(n), format_value(n, numbers[n])) for n in headline_metrics(record))
    if not record.finished and record.rows:
        shown = paragraph(f"After epoch {record.rows[-1]['epoch']}:", "warn") + shown
    if record.command == "evaluate":
        shown += paragraph(f"Evaluated checkpoint: {numbers.get('checkpoint')}", "quiet")
    return shown + collapsible("All numbers", _render_numbers(record))


def _render_numbers(record: RunRecord) -> str:
    """Return a table of all numbers, with their names in summary.json."""
    numbers = record.numbers.items()
    return definition_table(
        (name, table_cell(name, n)) for name, n in numbers if name != "genotype"
    )


def _render_confusion(record: RunRecord) -> str:
    """Return the confusion matrix of a run as an image."""
    if record.confusion is None:
        return ""
    return image(record.confusion, f"true and predicted classes, {record.split} split")


def _render_front(record: RunRecord) -> str:
    """Return the genotypes of a search for a front: cost and score as an image and as a table."""
    if not record.front:
        return ""
    drawing = "" if record.front_figure is None else image(record.front_figure, "cost and score")
    names = list(record.front[0])
    rows = [[csv_cell(name, row.get(name, "")) for name in names] for row in record.front]
    return drawing + table(names, rows)


def _render_importances(records: NamedRuns, anchor: str) -> str:
    """Return the edge importances of each run that has some, with names if there are several."""
    parts = {
        name: content
        for number, (name, record) in enumerate(records.items())
        if (content := render_edge_importance(record, f"{anchor}-{number}"))
    }
    if len(parts) < 2:
        return "".join(parts.values())
    return "".join(element("h4", for_html(name)) + part for name, part in parts.items())


def _render_evaluations(evaluations: NamedRuns) -> str:
    """Return a table of the evaluations, and collapsible details of each."""
    if not evaluations:
        return ""
    metrics = list(dict.fromkeys(n for r in evaluations.values() for n in headline_metrics(r)))
    rows: list[Row] = [
        [
            name,
            record.split,
            *(table_cell(metric, record.numbers.get(metric)) for metric in metrics),
        ]
        for name, record in evaluations.items()
    ]
    content = table(("run", "split", *map(label, metrics)), rows)
    for name, record in evaluations.items():
        content += "".join(paragraph(note, "warn") for note in record.notes)
        details = _render_numbers(record) + _render_confusion(record) + render_reproduction(record)
        content += collapsible(f"Details of {name}", details)
    return content
