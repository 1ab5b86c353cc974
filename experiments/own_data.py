"""``darts.find`` compared with plain baselines on data that it was not tuned for.

    python experiments/own_data.py prepare --data DIR --out runs/own_data
    python experiments/own_data.py baselines --out runs/own_data --minutes 5 --seeds 0 1 2
    python experiments/own_data.py find --out runs/own_data --minutes 5 --seeds 0 1 2
    python experiments/own_data.py table --minutes 5

``darts.find`` gets the path of the data and a budget, nothing else. The baselines of
``own_data_baselines.py`` get the same files and at most the same time. ``--data`` holds the
published data in folders ``cifar10``, ``fsdd``, ``ptb`` and ``agnews``; data sets whose folder is
missing are left out. ``--only NAME ...`` selects data sets. Finished rows are not repeated, and an
interrupted run of ``darts.find`` is resumed. The results are written to results/own_data.json, the
table to results/own_data.csv and README.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from own_data_baselines import Limits, run_baseline
from own_data_images import IMAGES
from own_data_samples import (
    correct_samples,
    number_errors,
    pack,
    paired_interval,
    unpack,
    unpaired_interval,
)
from own_data_sets import OVERRIDES, ROWS_AND_TEXTS, DataSet
from records import HERE, Row, hardware, mean_and_deviation, put_table, record, table
from runs import run

from darts.writing import write_atomically

DATA_SETS = {dataset.name: dataset for dataset in (*IMAGES, *ROWS_AND_TEXTS)}
KEY = ("data", "method", "seed", "minutes", "device")
FIND, BASELINE = "find", "baseline"
COLUMNS = (
    "data", "kind", "train", "test", "budget", "score", "plain baseline", "test of the baseline",
    "test of find", "find's own baseline", "find minus baseline", "seeds", "seconds", "hardware",
)  # fmt: skip


def prepared(args: argparse.Namespace) -> Iterator[tuple[DataSet, Path]]:
    """Yield the selected data sets with their folders, and write those that are missing."""
    for name in args.only or DATA_SETS:
        dataset = DATA_SETS[name]
        folder = args.out / "data" / name
        if dataset.prepare(args.data, folder):
            yield dataset, folder
        else:
            print(f"{name}: left out, because --data has no folder {dataset.source}", flush=True)


def missing(args: argparse.Namespace, method: str) -> Iterator[tuple[DataSet, Path, Row]]:
    """Yield data set, folder and the key of each row that is not in the results."""
    done = [tuple(row[key] for key in KEY) for row in record("own_data", KEY, [])]
    for seed, (dataset, folder) in itertools.product(args.seeds, list(prepared(args))):
        row = {
            "data": dataset.name,
            "method": method,
            "seed": seed,
            "minutes": args.minutes,
            "device": args.device,
        }
        if tuple(row.values()) not in done:
            yield dataset, folder, row


def save(dataset: DataSet, row: Row) -> None:
    """Add a finished row to the results and print its score."""
    common = {
        "metric": dataset.metric,
        "command": f"python experiments/own_data.py {_command(str(row['method']))}",
        "hardware": _hardware(str(row["method"]), str(row["device"])),
    }
    record("own_data", KEY, [{**row, **common}])
    score = f"{dataset.metric} {row['test']:.4f}, {row['seconds']:.0f} s"
    print(f"{dataset.name} {row['method']} seed {row['seed']}: {score}", flush=True)


def _hardware(method: str, device: str) -> str:
    if method == FIND and device == "cpu":  # it starts processes of its own
        return f"{os.cpu_count()} CPU cores, {platform.machine()}"
    return hardware(device)


def _command(method: str) -> str:
    return {FIND: "find", BASELINE: "baselines"}[method]


def run_baselines(args: argparse.Namespace) -> None:
    """Train the missing baselines."""
    for dataset, folder, key in missing(args, BASELINE):
        begin, processor = time.monotonic(), time.process_time()
        clock = time.process_time if args.clock == "processor" else time.monotonic
        limits = Limits(60 * args.minutes, args.epochs, key["seed"], args.device, clock)
        result = run_baseline(dataset, folder, limits)
        values = vars(result).copy()
        correct = values.pop("correct")
        errors = values.pop("errors")
        if errors is not None:
            values["errors"] = joined(errors)
        row = {
            **key,
            "model": values.pop("method"),
            "clock": args.clock,
            **values,
            "seconds": round(time.monotonic() - begin, 1),
            "processor_seconds": round(time.process_time() - processor, 1),
        }
        if correct is not None:
            row["correct"] = pack(correct)
        save(dataset, row)


def run_find(args: argparse.Namespace) -> None:
    """Run ``darts.find`` where a row is missing; report failed runs at the end."""
    failed = []
    for dataset, folder, key in missing(args, FIND):
        directory = (
            args.out / "find" / f"{args.minutes:g}_minutes" / f"{dataset.name}-{key['seed']}"
        )
        try:
            summary = run(
                "find",
                directory,
                *OVERRIDES[dataset.kind],
                f"dataset.root={folder.resolve()}",
                f"budget.minutes={args.minutes:g}",
                f"seed={key['seed']}",
                f"device={args.device}",
            )
        except subprocess.CalledProcessError as error:
            failed.append(
                f"{directory}: exit code {error.returncode}, see {directory.with_suffix('.log')}"
            )
            print(failed[-1], flush=True)
            continue
        row = {
            **key,
            "test": summary[f"test_{dataset.metric}"],
            **{name: summary[name] for name in summary if name.startswith("baseline")},
            "weights": summary.get("parameters"),
            "seconds": round(summary["seconds"], 1),
        }
        if dataset.metric == "accuracy":
            row["correct"] = pack(correct_samples(directory, args.device))
        if dataset.metric == "r2":
            row["errors"] = joined(number_errors(directory, folder / "test.csv"))
        save(dataset, row)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed:\n" + "\n".join(failed))


def joined(errors: Sequence[float]) -> str:
    """Return numbers as one text, which takes one line in the file of results."""
    return " ".join(f"{error:.4g}" for error in errors)


def own_baseline(row: Row) -> float | None:
    """Return the test score of the baseline that ``darts.find`` itself reports, if any."""
    names = [key for key in row if key.startswith("baseline") and key.endswith(str(row["metric"]))]
    for name in sorted(names, key=lambda name: "test" not in name):
        if isinstance(row[name], float):
            return float(row[name])
    return None


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


def describe(group: Sequence[Row]) -> list[object]:
    """Return the cells of one data set, budget and device, in the order of ``COLUMNS``."""
    first = group[0]
    dataset = DATA_SETS[first["data"]]
    accuracy = dataset.metric == "accuracy"
    scale, digits = (100, 2) if accuracy else (1, 3)
    rows = {name: [row for row in group if row["method"] == name] for name in (BASELINE, FIND)}
    scores = {name: [scale * row["test"] for row in own] for name, own in rows.items()}
    internal = [score for row in rows[FIND] if (score := own_baseline(row)) is not None]
    plain = rows[BASELINE][0] if rows[BASELINE] else {}

    def spread(values: Sequence[float]) -> str:
        return mean_and_deviation(values, digits) if values else ""

    difference = ""
    if scores[FIND] and scores[BASELINE]:
        ours, theirs = statistics.mean(scores[FIND]), statistics.mean(scores[BASELINE])
        difference = f"{ours - theirs:+.{digits}f}"
        if dataset.metric != "perplexity":
            low, high = (scale * bound for bound in interval(rows[FIND], rows[BASELINE]))
            difference += f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return [
        f"`{dataset.name}`",
        dataset.kind,
        f"{plain['train_samples']:,}" if plain else "",
        f"{plain['samples']:,}" if plain else "",
        f"{first['minutes']:g} min",
        "accuracy %" if accuracy else dataset.metric,
        plain.get("model", ""),
        spread(scores[BASELINE]),
        spread(scores[FIND]),
        spread([scale * score for score in internal]),
        difference,
        f"{len(rows[BASELINE])}, {len(rows[FIND])}",
        ", ".join(
            f"{statistics.mean(map(budget_seconds, rows[name])):.0f}" if rows[name] else "-"
            for name in (BASELINE, FIND)
        ),
        "; ".join(dict.fromkeys(row["hardware"] for name in rows for row in rows[name])),
    ]


def write_table(args: argparse.Namespace) -> None:
    """Write the table of all results with the selected data sets."""
    groups: dict[tuple[int, float, str], list[Row]] = {}
    order = list(DATA_SETS)
    for row in record("own_data", KEY, []):
        if row["data"] in (args.only or DATA_SETS):
            key = (order.index(row["data"]), row["minutes"], row["device"])
            groups.setdefault(key, []).append(row)
    lines = [describe(groups[key]) for key in sorted(groups)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *lines])
    write_atomically(HERE / "results" / "own_data.csv", text.getvalue())
    put_table("own_data", table(COLUMNS, lines))


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("prepare", "baselines", "find", "table"))
    parser.add_argument("--data", type=Path, help="folder of the published data")
    parser.add_argument("--out", default=Path("runs/own_data"), type=Path)
    parser.add_argument("--only", nargs="+", choices=DATA_SETS, metavar="NAME")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30, help="maximum of the baselines")
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="time that limits the baselines; use processor if other programs use the machine",
    )
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    if args.command == "prepare":
        for dataset, folder in prepared(args):
            print(f"{folder}: {dataset.content}")
    elif args.command == "baselines":
        run_baselines(args)
    elif args.command == "find":
        run_find(args)
    else:
        write_table(args)


if __name__ == "__main__":
    main()
