"""``darts.find`` in two spaces whose true accuracies are known.

    python experiments/find_benchmarks.py --data DIR --nas201 FILE --macro FILE --minutes 10
    python experiments/find_benchmarks.py --data DIR --nas201 FILE --without residual_3x3

The runs use one worker with one thread, so that a minute of the budget is a minute of processor
time. They see CIFAR-10 in ``--data``; the tables of NAS-Bench-201 and NAS-Bench-Macro only give the
true accuracy of each result. Without a table, its benchmark is left out. ``--without`` removes a
baseline of NAS-Bench-201. Finished rows are not repeated, and an interrupted run is resumed. The
results are written to results/find_benchmarks.json, the table to README.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from records import Row, command, hardware, mean_and_deviation, put_table, record, table
from runs import run

EXPERIMENTS = {"nas201": "nas201_cpu", "macro": "nas_bench_macro_cpu"}
NAMES = {"nas201": "NAS-Bench-201", "macro": "NAS-Bench-Macro"}
WITHOUT = Path(__file__).with_name("find_without.py")
KEY = ("benchmark", "without", "minutes", "seed")
COLUMNS = (
    "benchmark", "without", "budget", "seeds", "true accuracy", "lowest", "of the best baseline",
    "runs that a found architecture won", "minutes used",
)  # fmt: skip


def missing(args: argparse.Namespace) -> list[Row]:
    """Return the keys of all wanted rows that are not in the results."""
    done = [tuple(row[name] for name in KEY) for row in record("find_benchmarks", KEY, [])]
    benchmarks = [name for name in EXPERIMENTS if getattr(args, name)]
    keys = itertools.product(benchmarks, [args.without], [args.minutes], args.seeds)
    return [dict(zip(KEY, key, strict=True)) for key in keys if key not in done]


def find(args: argparse.Namespace, key: Row) -> Row:
    """Run ``darts.find`` once; return the row of results."""
    name = str(key["benchmark"])
    directory = f"{name}-without_{args.without}" if args.without else name
    summary = run(
        "find",
        args.out / f"{directory}-{args.minutes:g}_minutes-{key['seed']}",
        f"experiment={EXPERIMENTS[name]}",
        f"dataset.root={args.data.resolve()}",
        *(["dataset.verify=false"] if args.unverified else []),
        f"budget.minutes={args.minutes:g}",
        f"benchmark.table={getattr(args, name).resolve()}",
        f"seed={key['seed']}",
        program=(str(WITHOUT), args.without) if args.without else (),
    )
    copied = (
        "true_accuracy", "baseline_true_accuracy", "valid_accuracy", "baseline", "origin",
        "genotype", "candidates", "seconds",
    )  # fmt: skip
    return {
        **key,
        **{column: summary[column] for column in copied},
        "command": command(),
        "hardware": hardware("cpu"),
    }


def describe(rows: Sequence[Row]) -> list[object]:
    """Return the cells of one benchmark and budget, in the order of ``COLUMNS``."""
    truths = [100 * row["true_accuracy"] for row in rows]
    baselines = [100 * row["baseline_true_accuracy"] for row in rows]
    won = sum(row["origin"] != "baseline" for row in rows)
    return [
        NAMES[rows[0]["benchmark"]],
        rows[0]["without"] or "-",
        f"{rows[0]['minutes']:g} min",
        len(rows),
        mean_and_deviation(truths),
        f"{min(truths):.2f}",
        mean_and_deviation(baselines),
        f"{won} of {len(rows)}",
        f"{statistics.mean(row['seconds'] for row in rows) / 60:.1f}",
    ]


def write_table() -> None:
    """Write the table of all rows to README.md."""
    rows = sorted(record("find_benchmarks", KEY, []), key=lambda row: [row[name] for name in KEY])
    groups = itertools.groupby(rows, key=lambda row: [row[name] for name in KEY[:-1]])
    put_table("find_benchmarks", table(COLUMNS, [describe(list(group)) for _, group in groups]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("--nas201", type=Path, help="table of NAS-Bench-201")
    parser.add_argument("--macro", type=Path, help="table of NAS-Bench-Macro")
    parser.add_argument("--without", default="", help="baseline of NAS-Bench-201 to leave out")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("runs/find_benchmarks"))
    parser.add_argument(
        "--unverified", action="store_true", help="accept copies of CIFAR-10 that differ"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the runs
    for key in missing(args):
        row = find(args, key)
        record("find_benchmarks", KEY, [row])
        print(f"{row['benchmark']} {row['seed']}: {100 * row['true_accuracy']:.2f}", flush=True)
    write_table()


if __name__ == "__main__":
    main()
