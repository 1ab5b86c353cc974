"""All of one run, part by part; each part is empty where a run has nothing of the kind."""

from __future__ import annotations

from collections.abc import Mapping

from darts.reporting.costs import configuration, cost, reproduction
from darts.reporting.alphas import alphas
from darts.reporting.architecture import architecture, reliance
from darts.reporting.markup import (
    Cell,
    cell,
    element,
    escape,
    collapsible,
    definition_table,
    paragraph,
    image,
    section,
    table,
    tiles,
)
from darts.reporting.labels import headline_metrics, label
from darts.reporting.training_curves import training_curves, collapse_checks
from darts.reporting.run_record import RunRecord
from darts.reporting.study import study
from darts.tracking import format_value

Named = Mapping[str, RunRecord]
"""Runs by what the page calls them."""


def run_article(record: RunRecord, title: str, anchor: str, evaluations: Named | None = None) -> str:
    """All of one run.

    Args:
        record: of the run.
        title: what the page calls it.
        anchor: its id in the page, with which all ids in it begin.
        evaluations: of its network, which become a part of it.
    """
    evaluated = evaluations or {}
    state = "state" if record.finished else "state warn"
    head = element("h2", escape(title))
    head += element("span", escape(f"{record.command}: {record.progress}"), class_=state)
    found = "what was found" if record.command in ("search", "tune") else "architecture"
    relied = {title: record, **evaluated}
    body = (
        head
        + result(record)
        + section(found, architecture(record, anchor))
        + section("what the network relies on", _reliances(relied, anchor))
        + section("trials", study(record))
        + section("alphas over time", alphas(record))
        + section("curves", training_curves(record))
        + section("the doctor", collapse_checks(record))
        + section("confusions", confusion(record))
        + section("evaluations", _evaluations(evaluated), id=f"{anchor}-evaluations")
        + section("cost", cost(record))
        + section("configuration", configuration(record))
        + section("how to reproduce it", reproduction(record))
    )
    return element("article", body, id=anchor)


def result(record: RunRecord) -> str:
    """Scores and sizes."""
    numbers = record.numbers
    if not numbers and not record.trials:
        return paragraph("No epoch has ended yet.", "warn")
    shown = tiles((label(name), format_value(name, numbers[name])) for name in headline_metrics(record))
    if not record.finished and record.rows:
        shown = paragraph(f"As of epoch {record.rows[-1]['epoch']}:", "warn") + shown
    if record.command == "evaluate":
        shown += paragraph(f"The network of {numbers.get('checkpoint')}", "quiet")
    return shown + collapsible("All numbers", _numbers(record))


def _numbers(record: RunRecord) -> str:
    """All of them by their own names, as scripts read them."""
    return definition_table((k, cell(k, value)) for k, value in record.numbers.items() if k != "genotype")


def confusion(record: RunRecord) -> str:
    """Which classes were taken for which."""
    if record.confusion is None:
        return ""
    return image(record.confusion, f"true classes against those said, {record.part} split")


def _reliances(records: Named, anchor: str) -> str:
    """Of each evaluation that asked for it, under its name if there are several."""
    known = {
        name: found
        for number, (name, record) in enumerate(records.items())
        if (found := reliance(record, f"{anchor}-{number}"))
    }
    if len(known) < 2:
        return "".join(known.values())
    return "".join(element("h4", escape(name)) + found for name, found in known.items())


def _evaluations(evaluated: Named) -> str:
    """A row an evaluation, and all of each for those who ask."""
    if not evaluated:
        return ""
    columns = list(dict.fromkeys(name for r in evaluated.values() for name in headline_metrics(r)))
    rows: list[list[Cell | str]] = [
        [name, record.part, *(cell(column, record.numbers.get(column)) for column in columns)]
        for name, record in evaluated.items()
    ]
    more = "".join(
        collapsible(
            f"All of {name}",
            _numbers(record) + confusion(record) + reproduction(record),
        )
        for name, record in evaluated.items()
    )
    return table(("run", "part", *map(label, columns)), rows) + more
