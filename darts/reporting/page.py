"""The whole page: a comparison if there are several runs, followed by each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import darts
from darts.escaping import for_html
from darts.reporting.charts import Line, chart, charts
from darts.reporting.labels import headline_metrics, label
from darts.reporting.markup import Row, document, element, paragraph, section, table, table_cell
from darts.reporting.parts import part
from darts.reporting.record import RunRecord, group_evaluations, short_run_names
from darts.reporting.run import render_run
from darts.reporting.sections import SOURCES_NOTE, column_over_epochs
from darts.spaces import space_of
from darts.spaces.describe import difference
from darts.tracking import format_genotype
from darts.tracking.formats import is_fraction
from darts.tracking.ledger import common_source

Runs = Sequence[tuple[str, RunRecord]]
"""Runs with their names on the page."""


def render_page(records: Sequence[RunRecord]) -> str:
    """Return an HTML page about one or more runs, which loads nothing from elsewhere.

    Raises:
        ValueError: If there are no runs.
    """
    if not records:
        raise ValueError("there is no run to report")
    names = short_run_names(records)
    groups = group_evaluations(records)
    runs = [(names[index], records[index]) for index, _ in groups]
    several = len(runs) > 1
    title = f"{len(records)} runs" if several else f"{runs[0][1].command} {runs[0][1].name}"
    body = element("h1", for_html(title))
    if several:
        links = "".join(
            element("a", for_html(names[index]), href=f"#run-{number}")
            + "".join(
                element("a", for_html(names[evaluation]), href=f"#run-{number}-evaluations")
                for evaluation in evaluations
            )
            for number, (index, evaluations) in enumerate(groups, start=1)
        )
        body += element("nav", links) + _render_comparison(runs)
    for number, (index, evaluations) in enumerate(groups, start=1):
        named = {names[evaluation]: records[evaluation] for evaluation in evaluations}
        body += render_run(records[index], names[index], f"run-{number}", named)
    note = f"Created by darts-nas {darts.__version__} from the files of the runs."
    body += paragraph(note, "quiet")
    return document(title, element("main", body))


def _render_comparison(runs: Runs) -> str:
    """Return the article that compares the runs."""
    body = (
        element("h2", "Comparison")
        + part("results", lambda: _render_results(runs))
        + section("learning curves", part("learning curves", lambda: _render_curves(runs)))
        + section("cost", part("cost", lambda: _render_cost(runs)))
        + section("genotypes", part("genotypes", lambda: _render_genotypes(runs)))
        + section("different settings", part("settings", lambda: _render_differences(runs)))
    )
    return element("article", body, id="comparison")


def _render_results(runs: Runs) -> str:
    """Return a table with one row per run: scores, sizes, time; progress if a run is unfinished."""
    numbers = [_headlines(record) for _, record in runs]
    metrics = sorted({name for own in numbers for name in own}, key=_column_order)
    unfinished = not all(record.finished for _, record in runs)
    rows: list[Row] = [
        [
            name,
            *(table_cell(metric, own.get(metric)) for metric in metrics),
            table_cell("seed", record.config.get("seed")),
            record.command,
            *([record.progress] if unfinished else []),
        ]
        for (name, record), own in zip(runs, numbers, strict=True)
    ]
    state = ["state"] if unfinished else []
    return table(("run", *map(label, metrics), "seed", "command", *state), rows)


def _headlines(record: RunRecord) -> dict[str, object]:
    """Return the most important numbers of a run by name.

    The scores of a supernet have names of their own, so that they do not share a column with those
    of networks.
    """
    prefix = "supernet_" if record.command == "search" else ""
    return {
        f"{prefix}{name}" if name.startswith("valid_") else name: record.numbers[name]
        for name in headline_metrics(record)
    }


def _column_order(metric: str) -> tuple[int, str]:
    """Return a key that sorts scores before sizes before times."""
    prefixes = ("test_", "valid_", "supernet_", "true_")
    rank = next((i for i, prefix in enumerate(prefixes) if metric.startswith(prefix)), 4)
    last = {"parameters": 10, "macs": 11, "seconds": 12, "epoch": 13, "genotype_epoch": 14}
    return last.get(metric, rank), metric


def _render_curves(runs: Runs) -> str:
    """Return one panel per metric that at least two runs have."""
    metrics = ["valid_loss", "train_loss", *(f"valid_{record.metric}" for _, record in runs)]
    panels = []
    for metric in dict.fromkeys(metrics):
        lines = [
            line
            for number, (name, record) in enumerate(runs)
            if (line := Line(name, column_over_epochs(record.rows, metric), number)).finite_points
        ]
        if len(lines) > 1:
            panels.append(chart(lines, label(metric), percent=is_fraction(metric)))
    return charts(panels)


def _render_cost(runs: Runs) -> str:
    """Return a table of the costs of all runs if their joules have one source, or else a note."""
    measured = [
        (name, record.numbers) for name, record in runs if record.numbers.get("joules") is not None
    ]
    if not measured:
        return ""
    sources = {str(numbers.get("joules_source")) for _, numbers in measured}
    if common_source(sources) is None:
        names = ", ".join(sorted(sources))
        return paragraph(f"The joules of the runs have different sources ({names}).") + paragraph(
            f"{SOURCES_NOTE} The article of each run shows its cost."
        )
    rows: list[Row] = [
        [name, *(table_cell(key, numbers.get(key)) for key in ("seconds", "joules", "gco2e"))]
        for name, numbers in measured
    ]
    return paragraph(f"Source of the joules: {sources.pop()}.", "quiet") + table(
        ("run", "time", "joules", "g CO2e"), rows
    )


def _render_genotypes(runs: Runs) -> str:
    """Return a table of the genotypes. If there are two of one space, also list the differences."""
    genotypes = [(name, r.genotype) for name, r in runs if r.genotype is not None]
    if not genotypes:
        return ""
    overview = table(
        ("run", "genotype"), [(name, format_genotype(genotype)) for name, genotype in genotypes]
    )
    spaces = {space_of(genotype).name for _, genotype in genotypes}
    if len(genotypes) != 2 or len(spaces) > 1:
        return overview
    lines = difference(genotypes[0][1], genotypes[1][1])
    if not lines:
        return overview + paragraph("Both runs have the same architecture.")
    items = "".join(element("li", for_html(line)) for line in lines)
    return overview + element("ul", items)


def _render_differences(runs: Runs) -> str:
    """Return a table of the settings and the properties of the environment that differ."""
    settings = [{**dict(_flatten(record.config)), **_environment(record)} for _, record in runs]
    keys = list(dict.fromkeys(key for values in settings for key in values))
    different = [
        key for key in keys if len({repr(values[key]) for values in settings if key in values}) > 1
    ]
    in_one_run = sum(sum(key in values for values in settings) == 1 for key in keys)
    rows = [[key, *(str(values.get(key, "")) for values in settings)] for key in different]
    names = [name for name, _ in runs]
    no_difference = paragraph("No setting differs between the runs that have it.")
    content = table(("key", *names), rows) if rows else no_difference
    note = f"Keys that only one run has are not shown ({in_one_run})."
    return content + (paragraph(note, "quiet") if in_one_run else "")


def _flatten(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield dotted keys with their values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _environment(record: RunRecord) -> dict[str, object]:
    """Return the environment of a run; parentheses distinguish its names from settings."""
    values = {f"({name})": value for name, value in record.env.properties.items()}
    return {**values, "(git revision)": record.env.git_revision}
