"""Section of the article of a run of ``darts.find``: the race, its time and all candidates."""

from __future__ import annotations

from collections.abc import Sequence

from darts.plotting.race import draw_race
from darts.plotting.style import render_figure
from darts.reporting.architecture import inline_svg
from darts.reporting.markup import Row, TableCell, collapsible, paragraph, table, table_cell
from darts.reporting.record import RunRecord
from darts.reporting.sections import csv_cell, parse_number

Candidates = Sequence[dict[str, str]]
"""Rows of ``candidates.csv``."""


def render_race(record: RunRecord, anchor: str) -> str:
    """Return the picture of the race, the time of its parts, and a table of all candidates.

    ``anchor`` starts all ids of the picture.
    """
    candidates = record.candidates or _raced(record)
    if not candidates:
        return ""
    winner = _winner(record)
    drawing = ""
    if record.race:
        baselines = {row.get("candidate", "") for row in candidates if _is_baseline(row)}
        figure = draw_race(record.race, record.metric, winner=winner, baselines=baselines)
        drawing = inline_svg(render_figure(figure, "svg"), f"{anchor}-race-")
    names = list(candidates[0])
    body = [[csv_cell(name, row.get(name, "")) for name in names] for row in candidates]
    times = _render_times(record, candidates, winner)
    return drawing + times + collapsible("All candidates", table(names, body))


def _raced(record: RunRecord) -> Candidates:
    """Return the candidates of ``race.jsonl``, for a run that was killed."""
    newest = {row["candidate"]: row for row in record.race}
    return [
        {
            "candidate": name,
            "epochs": str(row["epochs"]),
            f"valid_{record.metric}": "" if row["score"] is None else str(row["score"]),
            "seconds": str(row["seconds"]),
        }
        for name, row in newest.items()
    ]


def _winner(record: RunRecord) -> str | None:
    """Return the name of the candidate that is the result; None if the run is not complete."""
    keys = ("genotype", "family", "setting")
    if any(key not in record.summary for key in keys):
        return None
    return next(
        (
            row.get("candidate")
            for row in record.candidates
            if all(row.get(key) == record.summary[key] for key in keys)
        ),
        None,
    )


def _is_baseline(row: dict[str, str]) -> bool:
    return row.get("origin") == "baseline"


def _render_times(record: RunRecord, candidates: Candidates, winner: str | None) -> str:
    """Return the training times of winner or leader, of all others, and of the final run."""
    leader = winner or (record.race[-1]["leader"] if record.race else None)
    first, others = 0.0, 0.0
    for row in candidates:
        seconds = parse_number(row.get("seconds", "")) or 0.0
        if row.get("candidate") == leader:
            first += seconds
        else:
            others += seconds
    count = sum(row.get("candidate") != leader for row in candidates)
    times = {
        f"{'leader' if winner is None else 'winner'} {leader}": first,
        f"{count} other candidate{'' if count == 1 else 's'}": others,
    }
    if winner is not None and record.summary.get("final_epochs") is not None:
        total = record.summary.get("winner_seconds") or 0.0
        times["final run of the winner"] = max(total - first, 0.0)
    total = sum(times.values())
    if not 0 < total < float("inf"):
        return ""
    rows: list[Row] = [
        [name, table_cell("seconds", seconds), _share(seconds / total)]
        for name, seconds in times.items()
    ]
    note = "Times of candidates that trained at the same time are added up."
    return table(("training", "time", "share"), rows) + paragraph(note, "quiet")


def _share(value: float) -> TableCell:
    return TableCell(f"{100 * value:.0f} %", value)
