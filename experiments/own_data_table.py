"""Rows of results of ``own_data.py``, and the table that is made of them."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Collection, Sequence

import numpy as np
from own_data_images import IMAGES
from own_data_samples import paired_interval, unpack, unpaired_interval
from own_data_sets import ROWS_AND_TEXTS
from records import HERE, Row, mean_and_deviation, put_table, record, table

from darts.writing import write_atomically

DATA_SETS = {dataset.name: dataset for dataset in (*IMAGES, *ROWS_AND_TEXTS)}
KEY = ("data", "method", "seed", "minutes", "device")
BASELINE, EXPERT, ALONE, FIND = METHODS = ("baseline", "expert", "alone", "find")
COLUMNS = (
    "data", "kind", "train", "test", "budget", "score", "plain baseline", "test of the baseline",
    "test of the expert", "test of find's baseline alone", "test of find", "find minus baseline",
    "find minus expert", "find minus its baseline alone", "gain of the search", "found networks",
    "winner_seconds / seconds", "seeds", "seconds", "hardware",
)  # fmt: skip

BUDGETS = (1.0, 5.0, 20.0)  # minutes
BUDGET_COLUMNS = (
    "data", "score", "1 min", "5 min", "20 min", "5 minus 1 min", "20 minus 5 min",
    "found network wins in 20 min", "best baseline alone, 20 min", "find minus baseline alone",
    "seconds",
)  # fmt: skip


def budget_seconds(row: Row) -> float:
    """Return the seconds by the clock that limits the row."""
    return float(row["processor_seconds" if row.get("clock") == "processor" else "seconds"])


def interval(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[float, float]:
    """Return the interval of the difference of two accuracies or R2; the same samples are paired.

    If no sample distinguishes the methods, as with two perfect scores, it is the unpaired one.
    """
    if "errors" in ours[0]:
        scores = [
            [-np.array(row["errors"].split(), float) for row in rows] for rows in (ours, theirs)
        ]
        return paired_interval(*scores)
    count = int(theirs[0]["samples"])
    flags = [[unpack(row["correct"], count) for row in rows] for rows in (ours, theirs)]
    low, high = paired_interval(*flags)
    if low < high:
        return low, high
    means = [statistics.mean(row["test"] for row in rows) for rows in (ours, theirs)]
    return unpaired_interval(means[0], means[1], count, count)


def gain(rows: Sequence[Row], scale: float, digits: int) -> str:
    """Return the gain of the search with its interval, means over the runs of ``darts.find``.

    The gain of a run is the test score of the found network minus that of the best baseline after
    equal training, or 0 if a baseline wins. The runs share their test samples, so the mean of the
    bounds is an interval of the mean.
    """
    found = [row for row in rows if not row["baseline_wins"]]
    if not found:
        return "0" if rows else ""
    bounds = []
    for name in ("gain", "gain_low", "gain_high"):
        values = [float(row[name]) for row in found if row.get(name) is not None]
        if len(values) < len(found):
            break
        bounds.append(f"{scale * sum(values) / len(rows):+.{digits}f}")
    if len(bounds) == 3:
        return f"{bounds[0]} [{bounds[1]}, {bounds[2]}]"
    return bounds[0] if bounds else ""


def describe(group: Sequence[Row]) -> list[object]:
    """Return the cells of one data set, budget and device, in the order of ``COLUMNS``."""
    first = group[0]
    dataset = DATA_SETS[first["data"]]
    accuracy = dataset.metric == "accuracy"
    scale, digits = (100, 2) if accuracy else (1, 3)
    rows = {name: [row for row in group if row["method"] == name] for name in METHODS}
    scores = {name: [scale * row["test"] for row in own] for name, own in rows.items()}
    plain = next((own[0] for name in (BASELINE, EXPERT) if (own := rows[name])), {})

    def spread(name: str) -> str:
        return mean_and_deviation(scores[name], digits) if scores[name] else ""

    def difference(other: str) -> str:
        if not (scores[FIND] and scores[other]):
            return ""
        text = f"{statistics.mean(scores[FIND]) - statistics.mean(scores[other]):+.{digits}f}"
        if dataset.metric != "perplexity":
            low, high = (scale * bound for bound in interval(rows[FIND], rows[other]))
            text += f" [{low:+.{digits}f}, {high:+.{digits}f}]"
        return text

    wins = [not row["baseline_wins"] for row in rows[FIND]]
    shares = [row["winner_seconds"] / row["seconds"] for row in rows[FIND]]
    return [
        f"`{dataset.name}`",
        dataset.kind,
        f"{plain['train_samples']:,}" if plain else "",
        f"{plain['samples']:,}" if plain else "",
        f"{first['minutes']:g} min",
        "accuracy %" if accuracy else dataset.metric,
        plain.get("model", "") if rows[BASELINE] else "",
        *(spread(name) for name in METHODS),
        *(difference(name) for name in (BASELINE, EXPERT, ALONE)),
        gain(rows[FIND], scale, digits),
        f"{sum(wins)} of {len(wins)}" if wins else "",
        f"{statistics.mean(shares):.2f}" if shares else "",
        ", ".join(str(len(rows[name])) for name in METHODS),
        ", ".join(
            f"{statistics.mean(map(budget_seconds, rows[name])):.0f}" if rows[name] else "-"
            for name in METHODS
        ),
        "; ".join(dict.fromkeys(row["hardware"] for name in METHODS for row in rows[name])),
    ]


def describe_budgets(rows: Sequence[Row]) -> list[object]:
    """Return the cells of one data set in the order of ``BUDGET_COLUMNS``, with seed 0."""
    dataset = DATA_SETS[rows[0]["data"]]
    scale, digits = (100, 2) if dataset.metric == "accuracy" else (1, 3)
    samples = next((int(row["samples"]) for row in rows if "samples" in row), 0)
    found: dict[tuple[str, float], Row] = {
        (row["method"], row["minutes"]): {"samples": samples, **row}
        for row in rows
        if row["seed"] == 0
    }

    def cell(method: str, minutes: float) -> str:
        row = found.get((method, minutes))
        return f"{scale * row['test']:.{digits}f}" if row else ""

    def difference(minutes: float, method: str, other: float) -> str:
        ours, theirs = found.get((FIND, minutes)), found.get((method, other))
        if ours is None or theirs is None:
            return ""
        text = f"{scale * (ours['test'] - theirs['test']):+.{digits}f}"
        if dataset.metric != "perplexity":
            low, high = (scale * bound for bound in interval([ours], [theirs]))
            text += f" [{low:+.{digits}f}, {high:+.{digits}f}]"
        return text

    last = found.get((FIND, BUDGETS[-1]))
    return [
        f"`{dataset.name}`",
        "accuracy %" if scale == 100 else dataset.metric,
        *(cell(FIND, minutes) for minutes in BUDGETS),
        difference(BUDGETS[1], FIND, BUDGETS[0]),
        difference(BUDGETS[2], FIND, BUDGETS[1]),
        "" if last is None else ("no" if last["baseline_wins"] else "yes"),
        cell(ALONE, BUDGETS[-1]),
        difference(BUDGETS[-1], ALONE, BUDGETS[-1]),
        ", ".join(
            f"{found[FIND, minutes]['seconds']:.0f}" if (FIND, minutes) in found else "-"
            for minutes in BUDGETS
        ),
    ]


def write_table(names: Collection[str]) -> None:
    """Write the table of all results with the named data sets."""
    groups: dict[tuple[int, float, str], list[Row]] = {}
    budgets: dict[int, list[Row]] = {}
    order = list(DATA_SETS)
    for row in record("own_data", KEY, []):
        if row["data"] in names:
            key = (order.index(row["data"]), row["minutes"], row["device"])
            groups.setdefault(key, []).append(row)
            budgets.setdefault(key[0], []).append(row)
    lines = {key: describe(groups[key]) for key in sorted(groups)}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *lines.values()])
    write_atomically(HERE / "results" / "own_data.csv", text.getvalue())
    several = {
        place: rows
        for place, rows in sorted(budgets.items())
        if len({row["minutes"] for row in rows if row["method"] == FIND}) > 1
    }
    usual = [cells for key, cells in lines.items() if key[0] not in several or key[1] == BUDGETS[1]]
    put_table("own_data", table(COLUMNS, usual))
    put_table("own_data_budgets", table(BUDGET_COLUMNS, [*map(describe_budgets, several.values())]))
