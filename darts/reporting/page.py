"""The page: several runs compared, then each of them in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import darts
from darts.reporting.costs import SOURCES, environment
from darts.reporting.run_article import run_article
from darts.reporting.charts import Line, chart, charts
from darts.reporting.markup import (
    Cell,
    cell,
    document,
    element,
    escape,
    paragraph,
    section,
    table,
)
from darts.reporting.labels import headline_metrics, is_percentage, label
from darts.reporting.training_curves import over_epochs
from darts.reporting.run_record import RunRecord, group_evaluations, short_run_names
from darts.spaces import space_of
from darts.spaces.describe import difference
from darts.tracking import format_genotype
from darts.tracking.ledger import common_source


def report_page(records: Sequence[RunRecord]) -> str:
    """One self-contained HTML page about one run or more.

    Raises:
        ValueError: without a run.
    """
    if not records:
        raise ValueError("there is no run to report on")
    called = short_run_names(records)
    places = group_evaluations(records)
    mains, names = [records[own] for own, _ in places], [called[own] for own, _ in places]
    several = len(mains) > 1
    title = f"{len(records)} runs" if several else f"{mains[0].command} {mains[0].name}"
    body = element("h1", escape(title))
    if several:
        links = "".join(
            element("a", escape(called[own]), href=f"#run-{number}")
            + "".join(
                element("a", escape(called[one]), href=f"#run-{number}-evaluations")
                for one in evaluations
            )
            for number, (own, evaluations) in enumerate(places, start=1)
        )
        body += element("nav", links) + compared(mains, names)
    for number, (own, evaluations) in enumerate(places, start=1):
        evaluated = {called[one]: records[one] for one in evaluations}
        body += run_article(records[own], called[own], f"run-{number}", evaluated)
    body += paragraph(
        f"Written by darts-nas {darts.__version__} from the files of the runs.", "quiet"
    )
    return document(title, element("main", body))


def compared(records: Sequence[RunRecord], names: Sequence[str]) -> str:
    """What tells the runs apart: results, curves, cost, configuration."""
    body = (
        element("h2", "Side by side")
        + results(records, names)
        + section("curves", _curves(records, names))
        + section("cost", _cost(records, names))
        + section("genotypes", _genotypes(records, names))
        + section("configuration: what differs", differences(records, names))
    )
    return element("article", body, id="compared")


def results(records: Sequence[RunRecord], names: Sequence[str]) -> str:
    """A row a run: scores, sizes, time; and how far they are, if some have not ended."""
    ranked = Counter(name for record in records for name in headline_metrics(record))
    columns = sorted(ranked, key=_rank)
    unfinished = not all(record.finished for record in records)
    rows: list[list[Cell | str]] = [
        [
            name,
            *(cell(column, record.numbers.get(column)) for column in columns),
            cell("seed", record.config.get("seed")),
            record.command,
            *([record.progress] if unfinished else []),
        ]
        for record, name in zip(records, names, strict=True)
    ]
    return table(
        ("run", *map(label, columns), "seed", "command", *(["state"] if unfinished else [])), rows
    )


def _rank(column: str) -> tuple[int, str]:
    """Scores before sizes before times."""
    order = ("test_", "valid_", "true_")
    place = next((i for i, opening in enumerate(order) if column.startswith(opening)), len(order))
    late = {"parameters": 10, "macs": 11, "seconds": 12, "epoch": 13, "genotype_epoch": 14}
    return late.get(column, place), column


def _curves(records: Sequence[RunRecord], names: Sequence[str]) -> str:
    """The same quantity of all runs in one panel, where at least two have it."""
    asked = ["valid_loss", "train_loss", *(f"valid_{record.metric}" for record in records)]
    panels = []
    for column in dict.fromkeys(asked):
        lines = [
            Line(name, over_epochs(record.rows, column), number)
            for number, (record, name) in enumerate(zip(records, names, strict=True))
        ]
        lines = [line for line in lines if line.known]
        if len(lines) > 1:
            panels.append(chart(lines, label(column), percent=is_percentage(column)))
    return charts(panels)


def _cost(records: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Joules beside each other, if they come from one source."""
    told = [(name, r.numbers) for name, r in zip(names, records, strict=True)]
    told = [(name, numbers) for name, numbers in told if numbers.get("joules") is not None]
    sources = {str(numbers.get("joules_source")) for _, numbers in told}
    if not told:
        return ""
    if common_source(sources) is None:
        found = ", ".join(sorted(sources))
        return paragraph(f"The runs' joules come from several sources ({found}).") + paragraph(
            SOURCES + " Each run has its own account below."
        )
    columns = ("seconds", "joules", "gco2e")
    rows: list[list[Cell | str]] = [
        [name, *(cell(c, numbers.get(c)) for c in columns)] for name, numbers in told
    ]
    return paragraph(f"Source of the joules: {sources.pop()}.", "quiet") + table(
        ("run", "time", "joules", "g CO2e"), rows
    )


def _genotypes(records: Sequence[RunRecord], names: Sequence[str]) -> str:
    """The genotypes in short, and in words where two differ."""
    known = [(n, r.genotype) for n, r in zip(names, records, strict=True) if r.genotype is not None]
    if not known:
        return ""
    found = table(("run", "genotype"), [(name, format_genotype(g)) for name, g in known])
    if len(known) != 2 or len({space_of(genotype).name for _, genotype in known}) > 1:
        return found
    lines = difference(known[0][1], known[1][1])
    if not lines:
        return found + paragraph("Both are the same architecture.")
    items = "".join(element("li", escape(line)) for line in lines)
    return found + element("ul", items)


def differences(records: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Keys of the configuration, and of the environment, in which the runs differ."""
    flat = [{**dict(_flat(r.config)), **_around(r)} for r in records]
    shared = [key for key in dict.fromkeys(k for one in flat for k in one) if _differs(flat, key)]
    alone = sum(
        1
        for key in dict.fromkeys(k for one in flat for k in one)
        if sum(key in f for f in flat) == 1
    )
    rows = [[key, *(_shown(one, key) for one in flat)] for key in shared]
    found = table(("key", *names), rows) if rows else paragraph("Nothing that both have.")
    note = f"{alone} keys that only one of the runs has are left out." if alone else ""
    return found + (paragraph(note, "quiet") if note else "")


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys with their values."""
    pairs: list[tuple[str, Any]] = []
    for key, value in config.items():
        inner = isinstance(value, Mapping) and value
        pairs += _flat(value, f"{prefix}{key}.") if inner else [(f"{prefix}{key}", value)]
    return pairs


def _around(record: RunRecord) -> dict[str, Any]:
    """What a run ran on, as keys beside those of the configuration."""
    known = {f"({name})": value for name, value in environment(record).items()}
    return {**known, "(git revision)": record.env.get("git_revision")}


def _differs(flat: Sequence[Mapping[str, Any]], key: str) -> bool:
    values = [repr(one[key]) for one in flat if key in one]
    return len(values) > 1 and len(set(values)) > 1


def _shown(one: Mapping[str, Any], key: str) -> str:
    return str(one[key]) if key in one else ""
