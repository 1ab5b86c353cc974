"""Tables that compare several runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from darts.config.fields import flatten
from darts.reading import JsonObject
from darts.reporting.record import RunRecord
from darts.reporting.tables import headline_metrics
from darts.spaces.describe import difference
from darts.tracking import format_genotype

# Runs by their names on the page.
Runs: TypeAlias = Mapping[str, RunRecord]

# Columns of the table of results from left to right; other scores follow the last prefix.
_FIRST = ("run", "split", "test_", "valid_", "supernet_", "true_")
_LAST = ("parameters", "macs", "seconds", "epoch", "genotype_epoch", "seed", "command", "state")

_PER_RUN = ("started", "git_dirty")  # entries of env.json that are not compared


def result_rows(runs: Runs) -> list[JsonObject]:
    """Return scores, sizes and time of each run, and the progress of unfinished ones.

    All rows have the same columns in the same order. The scores of a supernet have columns of
    their own, which they do not share with networks.
    """
    rows = []
    for name, record in runs.items():
        row: JsonObject = {"run": name}
        if record.command == "evaluate":
            row["split"] = record.split
        for metric in headline_metrics(record):
            of_supernet = record.command == "search" and metric.startswith("valid_")
            row[f"supernet_{metric}" if of_supernet else metric] = record.numbers[metric]
        row |= {"seed": record.config.get("seed"), "command": record.command}
        if not record.finished:
            row["state"] = record.progress
        rows.append(row)
    names = sorted({name for row in rows for name in row}, key=_place)
    return [{name: row.get(name) for name in names} for row in rows]


def _place(column: str) -> tuple[int, str]:
    """Return a key that sorts scores before sizes before times."""
    if column in _LAST:
        return len(_FIRST) + 1 + _LAST.index(column), column
    places = (i for i, prefix in enumerate(_FIRST) if column.startswith(prefix))
    return next(places, len(_FIRST)), column


def costs(runs: Runs) -> tuple[list[JsonObject], list[str]]:
    """Return the costs of the runs that know their joules, and the sources of the joules."""
    known = {name: r.numbers for name, r in runs.items() if r.numbers.get("joules") is not None}
    rows: list[JsonObject] = [
        {"run": name, **{key: numbers.get(key) for key in ("seconds", "joules", "gco2e")}}
        for name, numbers in known.items()
    ]
    return rows, sorted({str(numbers.get("joules_source")) for numbers in known.values()})


def genotype_rows(runs: Runs) -> list[JsonObject]:
    """Return the genotype of each run that has one, in one line."""
    return [
        {"run": name, "genotype": format_genotype(record.genotype)}
        for name, record in runs.items()
        if record.genotype is not None
    ]


def genotype_differences(runs: Runs) -> list[str] | None:
    """Return the differences between two genotypes of one space; None for other runs."""
    genotypes = [record.genotype for record in runs.values() if record.genotype is not None]
    if len(genotypes) != 2 or len({genotype.space for genotype in genotypes}) > 1:
        return None
    return difference(*genotypes)


def setting_differences(runs: Runs) -> tuple[list[JsonObject], int]:
    """Return the settings and the properties of the environment that differ between runs.

    The name of the setting is in a column without a name. Also return how many settings only one
    run has.
    """
    settings = {}
    for name, record in runs.items():
        # Parentheses distinguish the environment from settings.
        own = {f"({key})": value for key, value in record.env.items() if key not in _PER_RUN}
        settings[name] = dict(flatten(record.config)) | own
    keys = list(dict.fromkeys(key for values in settings.values() for key in values))
    rows = []
    in_one_run = 0
    for key in keys:
        own = {name: values[key] for name, values in settings.items() if key in values}
        in_one_run += len(own) == 1
        if len(set(map(repr, own.values()))) > 1:
            rows.append({"": key, **{name: str(own.get(name, "")) for name in runs}})
    return rows, in_one_run
