"""The page of a run of ``darts.find``."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from darts.reporting import read_run, render_page

GENOTYPE = '{"space": "mlp", "layers": ["relu_128"]}'
CANDIDATES = [
    {"candidate": "linear", "origin": "baseline", "genotype": "x", "valid_perplexity": 9.5},
    {"candidate": "wide", "origin": "neighbor", "genotype": GENOTYPE, "valid_perplexity": 7.25},
]
SUMMARY = {
    "command": "find",
    "metric": "perplexity",
    "test_perplexity": 7.5,
    "genotype": GENOTYPE,
    "family": "mlp",
    "setting": "lr_high",
    "final_epochs": 3,
    "winner_seconds": 100.0,
    "verdict": "The found network is better.",
    "outlook": "More training would help.",
}


def write_run(directory: Path, *, complete: bool = True, table: bool = True) -> Path:
    """Write the files that a page about a race reads; return the directory."""
    files: dict[str, Any] = {
        "config.yaml": {"name": "run", "metric": None},
        "overrides.json": {"command": "find", "overrides": ["dataset=csv"]},
    }
    if complete:
        files["summary.json"] = SUMMARY
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    slices = [
        {"time": 30.0, "candidate": "linear", "score": 9.5, "seconds": 25.0},
        {"time": 60.0, "candidate": "wide", "score": 8.0, "seconds": 30.0},
        {"time": 99.0, "candidate": "wide", "score": 7.25, "seconds": 75.0},
    ]
    rows = [{**row, "epochs": 4, "leader": row["candidate"]} for row in slices]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (directory / "race.jsonl").write_text(text + '{"time": ')
    if table:
        names = ("candidate", "origin", "family", "setting", "valid_perplexity", "valid_loss",
                 "seconds", "runs", "genotype")  # fmt: skip
        common = {"family": "mlp", "setting": "lr_high", "runs": 1, "valid_loss": 2.0}
        with (directory / "candidates.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for row, seconds in zip(CANDIDATES, (25.0, 75.0), strict=True):
                writer.writerow({**common, **row, "seconds": seconds})
    return directory


def page_of(directory: Path) -> str:
    return html.unescape(render_page([read_run(directory)]))


def times_of(page: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of the first table of the section about the race."""
    first = page.split("<h3>race</h3>")[1].split("</table>")[0]
    rows = (re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in first.split("<tr>"))
    return {row[0]: tuple(row[1:]) for row in rows if row}


def test_verdict_and_outlook_come_before_the_race_and_its_picture(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path))
    parts = (
        "The found network is better.",
        "More training would help.",
        "<h3>race</h3>",
        "winner: 7.25",
        "All candidates",
    )
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    assert "best baseline: 9.5" in page
    assert "valid perplexity (lower is better)" in page


def test_the_times_are_those_of_the_winner_of_all_others_and_of_the_final_run(
    tmp_path: Path,
) -> None:
    assert times_of(page_of(write_run(tmp_path))) == {
        "winner wide": ("0:01:15", "60 %"),
        "1 other candidate": ("0:00:25", "20 %"),
        "final run of the winner": ("0:00:25", "20 %"),
    }


@pytest.mark.parametrize("table", [True, False])
def test_an_interrupted_run_shows_its_race_and_the_command_that_resumes_it(
    tmp_path: Path, table: bool
) -> None:
    page = page_of(write_run(tmp_path, complete=False, table=table))
    assert "This run is not finished: 2 candidates" in page
    assert f"python -m darts.find resume={tmp_path}" in page
    assert "leader: 7.25" in page
    assert f"valid {'perplexity' if table else 'score'} (lower is better)" in page
    assert times_of(page) == {
        "leader wide": ("0:01:15", "75 %"),
        "1 other candidate": ("0:00:25", "25 %"),
    }
    candidates = page.split("All candidates")[1].split("</table>")[0]
    assert ">linear<" in candidates
    assert ">7.25<" in candidates


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    write_run(tmp_path, complete=False, table=False)
    (tmp_path / "race.jsonl").unlink()
    page = page_of(tmp_path)
    assert "This run is not finished: 0 candidates" in page
    assert "<h3>race</h3>" not in page
