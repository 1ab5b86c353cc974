"""Results of the scripts: rows in ``results/*.json``, tables in README.md."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from scipy import stats

from darts.judging.devices.stopwatch import device_name
from darts.writing import write_atomically

HERE = Path(__file__).parent

Row = dict[str, Any]


def parser_of(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser of arguments with the first line of a docstring as description."""
    return argparse.ArgumentParser(description=(docstring or "").splitlines()[0])


def command() -> str:
    """Return the command line that started this process."""
    return " ".join(["python", f"experiments/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def hardware(device: str) -> str:
    """Return the name of the GPU, or the number of CPU threads in use and the processor."""
    name = device_name(torch.device(device))
    return name if device.startswith("cuda") else f"{torch.get_num_threads()} CPU threads, {name}"


def commit() -> str:
    """Return the commit of the code, with ``-dirty`` if files differ from it; empty without Git."""
    if shutil.which("git") is None:
        return ""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-C", HERE, *arguments], check=False, capture_output=True, text=True
        )

    name = git("rev-parse", "--short=8", "HEAD").stdout.strip()
    changed = git("diff", "--quiet", "HEAD", "--", "../darts", "../conf", "*.py").returncode
    return f"{name}-dirty" if name and changed else name


COMMIT = commit()  # before the measurement, during which the files may change


def record(name: str, key: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """Write rows to ``results/<name>.json``; a row replaces the row with the same key.

    Rows without ``command``, ``hardware`` or ``commit`` get the command line, the processor and the
    commit.

    Args:
        name: File name without suffix.
        key: Names of the values that identify a row.
        rows: New rows; may be empty.

    Returns:
        All rows of the file.
    """
    origin = {"command": command(), "hardware": hardware("cpu"), "commit": COMMIT}
    rows = [{**origin, **row} for row in rows]
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # several jobs may write rows at the same time
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        replaced = [tuple(row[k] for k in key) for row in rows]
        all_rows = [*(row for row in old if tuple(row[k] for k in key) not in replaced), *rows]
        write_atomically(path, json.dumps(all_rows, indent=1) + "\n")
    return all_rows


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def grouped(rows: Sequence[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return the rows by their values of some names, in the order of the rows."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def put_rows(name: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Write a table of rows by ``put_table``.

    Each column has a format string that refers to the values of a row, such as ``{seconds:.2f}``.
    """
    lines = [[text.format_map(row) for text in columns.values()] for row in rows]
    put_table(name, table([*columns], lines))


def put_table(name: str, text: str) -> None:
    """Print a table, and write it to README.md between ``<!-- name -->`` and its end marker."""
    print(text)
    path = HERE / "README.md"
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, after = page.split(begin)
    path.write_text(f"{before}{begin}{text}\n{end}{after.split(end)[1]}", encoding="utf-8")


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and the bounds of its 95 % interval (Student's t); one value has no width."""
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return mean, mean, mean
    width = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(values) / count**0.5
    return mean, mean - width, mean + width


def mean_and_deviation(values: Sequence[float], digits: int = 2) -> str:
    """Return ``mean ± sample standard deviation``."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
