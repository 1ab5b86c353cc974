"""What comparisons of several ways on several data sets share: arguments, cells and mean ranks.

A row of the results has ``test``, the score on the test samples, ``samples``, their number, and
either ``correct``, see ``own_data_samples.pack``, or ``errors``, see ``pack_errors``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from own_data_samples import Flags, Numbers, paired_interval, unpack
from records import Row, mean_and_deviation, parser_of


def ways_parser(
    docstring: str | None, *, sets: Iterable[str], ways: Iterable[str], out: str, minutes: float
) -> argparse.ArgumentParser:
    """Return a parser of the commands prepare, run and table, with their common arguments.

    Args:
        docstring: Docstring of the script.
        sets, ways: Names of the data sets and of the ways.
        out: Default folder of data and runs.
        minutes: Default time of each way.
    """
    parser = parser_of(docstring)
    parser.add_argument("command", choices=("prepare", "run", "table"))
    parser.add_argument("--out", default=Path(out), type=Path)
    parser.add_argument("--only", nargs="+", choices=list(sets), metavar="NAME")
    parser.add_argument("--ways", nargs="+", choices=list(ways), metavar="WAY")
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    return parser


def pack_errors(errors: Sequence[float]) -> str:
    """Return relative errors of test samples as text, in half precision: enough for intervals."""
    return np.asarray(errors, "<f2").tobytes().hex()


def unpack_errors(text: str) -> Numbers:
    """Return the relative errors ``(N,)`` of a text of ``pack_errors``."""
    return np.frombuffer(bytes.fromhex(text), "<f2").astype(np.float64)


def ranks(scores: Sequence[float]) -> list[float]:
    """Return the rank of each score, 1 for the highest; equal scores share the mean rank."""
    return [
        sum(other > score for other in scores) + (sum(other == score for other in scores) + 1) / 2
        for score in scores
    ]


def mean_ranks(scores: Sequence[Sequence[Sequence[Row]]]) -> list[str]:
    """Return the mean rank of each way, given the rows of each way on each data set."""
    by_set = [ranks([statistics.mean(r["test"] for r in way) for way in own]) for own in scores]
    return [f"{statistics.mean(own):.2f}" for own in zip(*by_set, strict=True)]


def results_of(rows: Sequence[Row]) -> list[Flags] | list[Numbers]:
    """Return the result of each test sample for each row; higher is better."""
    if "errors" in rows[0]:
        return [-unpack_errors(row["errors"]) for row in rows]
    return [unpack(row["correct"], row["samples"]) for row in rows]


def cell(rows: Sequence[Row], ours: Sequence[Row]) -> str:
    """Return the score of a way in %, and the 95 % interval of its difference to ``darts.find``."""
    if not rows:
        return ""
    text = mean_and_deviation([100 * row["test"] for row in rows])
    if not ours or rows is ours:
        return text
    low, high = (100 * bound for bound in paired_interval(results_of(rows), results_of(ours)))
    return f"{text} [{low:+.1f}, {high:+.1f}]"
