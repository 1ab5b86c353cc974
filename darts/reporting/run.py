"""One run on a page, section by section; sections without data are left out."""

from __future__ import annotations

from collections.abc import Mapping

from darts.reporting.alphas import render_alphas
from darts.reporting.architecture import render_architecture, render_edge_importance
from darts.reporting.costs import render_cost
from darts.reporting.curves import render_collapse_checks, render_curves
from darts.reporting.labels import headline_metrics, label
from darts.reporting.markup import (
    Cell,
    cell,
    collapsible,
    definition_table,
    element,
    escape,
    image,
    paragraph,
    section,
    table,
    tiles,
)
from darts.reporting.record import RunRecord
from darts.reporting.reproduction import render_configuration, render_reproduction
from darts.reporting.study import render_study
from darts.tracking import format_value

NamedRuns = Mapping[str, RunRecord]
"""Runs by their names on the page."""


def render_run(
    record: RunRecord, title: str, anchor: str, evaluations: NamedRuns | None = None
) -> str:
    """Return the article of a run.

    Args:
        record: The run.
        title: Its name on the page.
        anchor: Its id in the page, the prefix of all ids in the article.
        evaluations: Evaluations of its network, which the article includes.
    """
    evaluated = evaluations or {}
    state = "state" if record.finished else "state warn"
    head = element("h2", escape(title))
    head += element("span", escape(f"{record.command}: {record.progress}"), class_=state)
    body = (
        head
        + _render_results(record)
        + section("architecture", render_architecture(record, anchor))
        + section("edge importance", _render_importances({title: record, **evaluated}, anchor))
        + section("trials", render_study(record))
        + section("mixing weights", render_alphas(record))
        + section("learning curves", render_curves(record))
        + section("collapse checks", render_collapse_checks(record))
        + section("confusion matrix", _render_confusion(record))
        + section("evaluations", _render_evaluations(evaluated), id=f"{anchor}-evaluations")
        + section("cost", render_cost(record))
        + section("configuration", render_configuration(record))
        + section("reproduction", render_reproduction(record))
    )
    return element("article", body, id=anchor)


def _render_results(record: RunRecord) -> str:
    """Return scores and sizes."""
    numbers = record.numbers
    if not numbers and not record.trials:
        return paragraph("No epoch has finished yet.", "warn")
    shown = tiles(
        (label(name), format_value(name, numbers[name])) for name in headline_metrics(record)
    )
    if not record.finished and record.rows:
        shown = paragraph(f"After epoch {record.rows[-1]['epoch']}:", "warn") + shown
    if record.command == "evaluate":
        shown += paragraph(f"Evaluated checkpoint: {numbers.get('checkpoint')}", "quiet")
    return shown + collapsible("All numbers", _render_numbers(record))


def _render_numbers(record: RunRecord) -> str:
    """Return all numbers under their names in summary.json."""
    return definition_table(
        (name, cell(name, value)) for name, value in record.numbers.items() if name != "genotype"
    )


def _render_confusion(record: RunRecord) -> str:
    if record.confusion is None:
        return ""
    return image(record.confusion, f"true and predicted classes, {record.split} split")


def _render_importances(records: NamedRuns, anchor: str) -> str:
    """Return the edge importances of each evaluation, with names if there are several."""
    parts = {
        name: content
        for number, (name, record) in enumerate(records.items())
        if (content := render_edge_importance(record, f"{anchor}-{number}"))
    }
    if len(parts) < 2:
        return "".join(parts.values())
    return "".join(element("h4", escape(name)) + part for name, part in parts.items())


def _render_evaluations(evaluated: NamedRuns) -> str:
    """Return a table of the evaluations, and collapsible details of each."""
    if not evaluated:
        return ""
    metrics = list(dict.fromkeys(n for r in evaluated.values() for n in headline_metrics(r)))
    rows: list[list[Cell | str]] = [
        [name, record.split, *(cell(metric, record.numbers.get(metric)) for metric in metrics)]
        for name, record in evaluated.items()
    ]
    details = "".join(
        collapsible(
            f"Details of {name}",
            _render_numbers(record) + _render_confusion(record) + render_reproduction(record),
        )
        for name, record in evaluated.items()
    )
    return table(("run", "split", *map(label, metrics)), rows) + details
