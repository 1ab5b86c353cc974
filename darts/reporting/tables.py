"""Tables of a page: labels of the numbers of a run, cells and the race."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from darts.judging.rankings import has_number
from darts.reading import JsonObject
from darts.reporting.record import RunRecord
from darts.tracking import format_value

_LABELS = {"macs": "MACs", "seconds": "time", "lr": "learning rate", "gco2e": "g CO2e"}
_RESULTS = ("true_accuracy", "true_rank", "parameters", "macs", "seconds")
_COUNTS = ("epoch", "genotype_epoch", "trials", "trial", "samples")
_WORDS = {"f1": "F1", "wer": "WER", "cer": "CER", "bleu": "BLEU"}


class Cell(NamedTuple):
    """Cell of a table."""

    text: str
    number: float | None = None  # the number to sort by; None if the text is not a number


def label(name: str) -> str:
    """Return the label of a number, for example "valid accuracy" for ``valid_accuracy``."""
    words = name.replace("_", " ").replace("/", ", ").split(" ")
    return _LABELS.get(name, " ".join(_WORDS.get(word, word) for word in words))


def column_names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the names of all columns of a table."""
    return list(dict.fromkeys(name for row in rows for name in row))


def column_labels(rows: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Return the labels of all columns of a table by name."""
    return {name: label(name) for name in column_names(rows)}


def headline_metrics(record: RunRecord) -> list[str]:
    """Return the names of the most important numbers that the run has, scores first."""
    scores = (f"test_{record.metric}", f"valid_{record.metric}", record.metric)
    baseline = f"baseline_test_{record.metric}"
    candidates = dict.fromkeys((*scores[:1], baseline, *scores[1:], *_RESULTS, *_COUNTS))
    return [name for name in candidates if record.numbers.get(name) is not None]


def table_cells(rows: Iterable[Mapping[str, object]], names: Sequence[str]) -> list[list[Cell]]:
    """Return the cells of a table whose columns have these names."""
    return [[_table_cell(name, row.get(name)) for name in names] for row in rows]


def _table_cell(name: str, value: object) -> Cell:
    if isinstance(value, Cell):
        return value
    if value is None:
        return Cell("")
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return Cell(format_value(name, value), number)


def collapse_checks(record: RunRecord) -> list[JsonObject]:
    """Return the collapse checks of a search, with the labels of their numbers."""
    return [
        {"epoch": row["epoch"], "verdict": row["collapse_verdict"]}
        | {
            label(name.removeprefix("collapse/")): value
            for name, value in row.items()
            if name.startswith("collapse/")
        }
        for row in record.rows
        if "collapse_verdict" in row
    ]


def race_candidates(record: RunRecord) -> Sequence[JsonObject]:
    """Return the candidates: of candidates.csv, or the last slices of a run that was killed."""
    return record.candidates or [*{row["candidate"]: dict(row) for row in record.race}.values()]


def race_times(record: RunRecord) -> list[JsonObject]:
    """Return the training times of winner or leader, of all others, and of the final run."""
    winner = race_winner(record)
    leader = winner or (record.race[-1]["leader"] if record.race else None)
    trained = [row for row in race_candidates(record) if has_number(row, "seconds")]
    first = sum(row["seconds"] for row in trained if row["candidate"] == leader)
    others = [row["seconds"] for row in trained if row["candidate"] != leader]
    times = {
        f"{'leader' if winner is None else 'winner'} {leader}": first,
        f"{len(others)} other candidate{'' if len(others) == 1 else 's'}": sum(others),
    }
    if winner is not None and record.summary.get("final_epochs") is not None:
        total = record.summary.get("winner_seconds") or 0.0
        times["final run of the winner"] = max(total - first, 0.0)
    total = sum(times.values())
    return [
        {"run": name, "seconds": time, "share": Cell(f"{100 * time / total:.0f} %", time)}
        for name, time in times.items()
        if total > 0
    ]


def job_places(record: RunRecord) -> list[JsonObject]:
    """Return for each place how many jobs ended there, and how many of them failed."""
    places = Counter(str(row.get("place")) for row in record.jobs)
    failed = Counter(
        str(row.get("place")) for row in record.jobs if str(row.get("end")).startswith("failed")
    )
    return [
        {"place": place, "jobs": count, "failed": failed[place]}
        for place, count in sorted(places.items())
    ]


def race_winner(record: RunRecord) -> str | None:
    """Return the name of the candidate that is the result; None if the run is not complete."""
    keys = ("genotype", "family", "setting")
    if any(key not in record.summary for key in keys):
        return None
    same = [r for r in record.candidates if all(r.get(k) == record.summary[k] for k in keys)]
    return str(same[0].get("candidate")) if same else None
