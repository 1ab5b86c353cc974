"""The page: several runs compared, then each of them in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import darts
from darts.reporting import parts
from darts.reporting.charts import Line, chart, charts
from darts.reporting.markup import (
    Cell,
    cell,
    document,
    element,
    escaped,
    paragraph,
    section,
    table,
)
from darts.reporting.record import Record, short_names
from darts.spaces import space_of
from darts.spaces.in_words import difference
from darts.tracking import short_genotype
from darts.tracking.ledger import common_source


def page(records: Sequence[Record]) -> str:
    """One self-contained HTML page about one run or more.

    Raises:
        ValueError: without a run.
    """
    if not records:
        raise ValueError("there is no run to report on")
    names = short_names(records)
    several = len(records) > 1
    title = f"{len(records)} runs" if several else f"{records[0].command} {records[0].name}"
    body = element("h1", escaped(title))
    if several:
        links = "".join(
            element("a", escaped(name), href=f"#run-{number}")
            for number, name in enumerate(names, start=1)
        )
        body += element("nav", links) + compared(records, names)
    for number, (record, name) in enumerate(zip(records, names, strict=True), start=1):
        body += parts.whole(record, name, f"run-{number}")
    body += paragraph(
        f"Written by darts-nas {darts.__version__} from the files of the runs.", "quiet"
    )
    return document(title, element("main", body))


def compared(records: Sequence[Record], names: Sequence[str]) -> str:
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


def results(records: Sequence[Record], names: Sequence[str]) -> str:
    """A row a run: scores, sizes, time."""
    ranked = Counter(name for record in records for name in parts.headline(record))
    columns = sorted(ranked, key=_rank)
    rows: list[list[Cell | str]] = [
        [
            name,
            record.command,
            record.progress,
            *(cell(column, record.numbers.get(column)) for column in columns),
            cell("seed", record.config.get("seed")),
        ]
        for record, name in zip(records, names, strict=True)
    ]
    return table(("run", "command", "state", *map(parts.words, columns), "seed"), rows)


def _rank(column: str) -> tuple[int, str]:
    """Scores before sizes before times."""
    order = ("test_", "valid_", "true_")
    place = next((i for i, opening in enumerate(order) if column.startswith(opening)), len(order))
    late = {"parameters": 10, "macs": 11, "seconds": 12, "epoch": 13, "genotype_epoch": 14}
    return late.get(column, place), column


def _curves(records: Sequence[Record], names: Sequence[str]) -> str:
    """The same quantity of all runs in one panel, where at least two have it."""
    asked = ["valid_loss", "train_loss", *(f"valid_{record.metric}" for record in records)]
    panels = []
    for column in dict.fromkeys(asked):
        lines = [
            Line(name, parts.over_epochs(record.rows, column), number)
            for number, (record, name) in enumerate(zip(records, names, strict=True))
        ]
        lines = [line for line in lines if line.known]
        if len(lines) > 1:
            panels.append(chart(lines, parts.words(column), percent=parts.is_share(column)))
    return charts(panels)


def _cost(records: Sequence[Record], names: Sequence[str]) -> str:
    """Joules beside each other, if they come from one source."""
    told = [(name, r.numbers) for name, r in zip(names, records, strict=True)]
    told = [(name, numbers) for name, numbers in told if numbers.get("joules") is not None]
    sources = {str(numbers.get("joules_source")) for _, numbers in told}
    if not told:
        return ""
    if common_source(sources) is None:
        found = ", ".join(sorted(sources))
        return paragraph(f"The runs' joules come from several sources ({found}).") + paragraph(
            parts.SOURCES + " Each run has its own account below."
        )
    columns = ("seconds", "joules", "gco2e")
    rows: list[list[Cell | str]] = [
        [name, *(cell(c, numbers.get(c)) for c in columns)] for name, numbers in told
    ]
    return paragraph(f"Source of the joules: {sources.pop()}.", "quiet") + table(
        ("run", "time", "joules", "g CO2e"), rows
    )


def _genotypes(records: Sequence[Record], names: Sequence[str]) -> str:
    """The genotypes in short, and in words where two differ."""
    known = [(n, r.genotype) for n, r in zip(names, records, strict=True) if r.genotype is not None]
    if not known:
        return ""
    found = table(("run", "genotype"), [(name, short_genotype(g)) for name, g in known])
    if len(known) != 2 or len({space_of(genotype).name for _, genotype in known}) > 1:
        return found
    lines = difference(known[0][1], known[1][1])
    if not lines:
        return found + paragraph("Both are the same architecture.")
    items = "".join(element("li", escaped(line)) for line in lines)
    return found + element("ul", items)


def differences(records: Sequence[Record], names: Sequence[str]) -> str:
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


def _around(record: Record) -> dict[str, Any]:
    """What a run ran on, as keys beside those of the configuration."""
    known = {f"({name})": value for name, value in parts.environment(record).items()}
    return {**known, "(git revision)": record.env.get("git_revision")}


def _differs(flat: Sequence[Mapping[str, Any]], key: str) -> bool:
    values = [repr(one[key]) for one in flat if key in one]
    return len(values) > 1 and len(set(values)) > 1


def _shown(one: Mapping[str, Any], key: str) -> str:
    return str(one[key]) if key in one else ""
