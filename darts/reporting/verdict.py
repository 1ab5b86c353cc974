"""The score of a run, its last collapse check, and the commands that repeat and continue it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from darts.config.overrides import is_plain_override
from darts.reporting.record import RunRecord
from darts.reporting.tables import label
from darts.tracking import format_value


def score(record: RunRecord) -> str:
    """Return the score of the result with its name; empty if there is none."""
    numbers = record.summary
    names = (f"test_{record.metric}", f"valid_{record.metric}", record.metric, "score")
    name = next((name for name in names if numbers.get(name) is not None), None)
    return "" if name is None else f"{label(name)} of {format_value(name, numbers[name])}"


def last_collapse_check(record: RunRecord) -> tuple[str, object]:
    """Return the verdict of the last check, empty without checks, and the last healthy epoch."""
    checks = [row for row in record.rows if "collapse_verdict" in row]
    known = {
        name: value
        for row in (*checks[-1:], record.numbers)
        for name, value in row.items()
        if value is not None
    }
    return str(known.get("collapse_verdict", "")), known.get("collapse_healthy_epoch")


def next_command(record: RunRecord) -> str:
    """Return the command to run next; empty if none follows."""
    directory = shlex.quote(str(record.directory))
    if not record.finished:
        command = record.command
        return "" if command == "evaluate" else f"darts {command} resume={directory}"
    if record.summary.get("worthless"):
        return ""
    if record.command == "search":
        if not record.retraining:  # the file is missing or damaged
            return ""
        overrides = map(shlex.quote, _plain(record.retraining))
        return " ".join([f"darts retrain genotype={directory}", *overrides])
    if record.command in ("retrain", "find"):
        return f"darts evaluate checkpoint={directory}"
    return ""


def start_command(record: RunRecord) -> tuple[str, int]:
    """Return the command that began the run, and how many overrides it leaves out."""
    overrides = record.overrides or []
    plain = _plain(overrides)
    words = ["darts", record.command, *plain]
    return shlex.join(words), len(overrides) - len(plain)


def _plain(overrides: Iterable[str]) -> list[str]:
    """Return the overrides that only set a key.

    A reader will copy the commands of a page, and the files may be untrusted.
    """
    return [override for override in overrides if is_plain_override(override.removeprefix("++"))]
