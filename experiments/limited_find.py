"""``darts.find`` within latency limits, in a space whose accuracies and latencies are known.

    python experiments/limited_find.py --data DIR --nas201 FILE --latencies FILE --minutes 15

A latency model is fitted to 200 random cells of NAS-Bench-201 on one device. For each limit and
seed, ``darts.find`` trains on CIFAR-10 in ``--data`` with one worker and one thread. The tables
only give the true accuracy and latency of each result, and the best cell whose true latency is
within the limit. The limits are quantiles of the latencies of all cells.

Finished rows are not repeated. The results are written to results/limited_find.json, the plot to
results/limited_find.svg, and the table to README.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from records import HERE, Row, command, hardware, mean_and_deviation, put_table, record, table
from runs import run

from darts.hpo.architecture_list import read_architectures
from darts.judging.nas201_table import load

KEY = ("device", "minutes", "limit_ms", "seed")
COLUMNS = (
    "limit in ms", "cells within", "seeds", "accuracy of the result", "best cell within", "lost",
    "free baseline", "true latency in ms", "found won",
)  # fmt: skip
QUANTILES = (0.1, 0.3, 0.6)


class Truth(NamedTuple):
    """Latencies in milliseconds and accuracies in percent of all cells, by their text."""

    latencies: dict[str, float]
    accuracies: dict[str, float]

    def best_within(self, limit: float) -> float:
        """Return the best accuracy of all cells with a true latency of at most ``limit``."""
        return max(self.accuracies[cell] for cell, ms in self.latencies.items() if ms <= limit)


def read_truth(args: argparse.Namespace) -> Truth:
    """Read both tables."""
    measured = read_architectures(
        str(args.latencies), truth=args.device, space="nas201", path_key="table", truth_key="column"
    )
    accuracies = load(args.nas201)
    latencies, scores = {}, {}
    for cell in measured:
        text = str(cell.genotype)
        latencies[text] = float(cell.truth or 0.0)
        scores[text] = accuracies.accuracy(
            cell.genotype, dataset="cifar10", split="test", epochs=200
        )
    return Truth(latencies, scores)


def find(args: argparse.Namespace, truth: Truth, model: Path, key: Row) -> Row:
    """Run ``darts.find`` once; return the row of results."""
    limit = float(key["limit_ms"])
    summary = run(
        "find",
        args.out / f"{args.device}-{limit:g}_ms-{args.minutes:g}_minutes-{key['seed']}",
        "experiment=nas201_cpu",
        f"dataset.root={args.data.resolve()}",
        *(["dataset.verify=false"] if args.unverified else []),
        f"budget.minutes={args.minutes:g}",
        f"limit.latency_ms={limit!r}",
        f"limit.device={model.resolve()}",
        f"benchmark.table={args.nas201.resolve()}",
        f"seed={key['seed']}",
    )
    cell = str(summary["genotype"])
    return {
        **key,
        "genotype": cell,
        "accuracy": truth.accuracies[cell],
        "baseline": 100 * summary["baseline_true_accuracy"],
        "best_within": truth.best_within(limit),
        "predicted_ms": summary["latency_ms"],
        "true_ms": truth.latencies[cell],
        "cells_within": sum(ms <= limit for ms in truth.latencies.values()),
        "origin": summary["origin"],
        "seconds": summary["seconds"],
        "command": command(),
        "hardware": hardware("cpu"),
    }


def describe(rows: Sequence[Row]) -> list[object]:
    """Return the cells of one limit, in the order of ``COLUMNS``."""
    return [
        f"{rows[0]['limit_ms']:.3g}",
        f"{rows[0]['cells_within']:,}",
        len(rows),
        mean_and_deviation([row["accuracy"] for row in rows]),
        f"{rows[0]['best_within']:.2f}",
        f"{np.mean([row['best_within'] - row['accuracy'] for row in rows]):.2f}",
        mean_and_deviation([row["baseline"] for row in rows]),
        ", ".join(f"{row['true_ms']:.3g}" for row in rows),
        f"{sum(row['origin'] != 'baseline' for row in rows)} of {len(rows)}",
    ]


def draw(rows: Sequence[Row], truth: Truth, path: Path) -> None:
    """Draw all cells, their true front, the limits, and the results."""
    latencies = np.array(list(truth.latencies.values()))
    accuracies = np.array(list(truth.accuracies.values()))
    order = np.argsort(latencies, kind="stable")
    front = np.maximum.accumulate(accuracies[order])
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.scatter(latencies, accuracies, s=2, color="0.8", rasterized=True, label="all cells")
    axes.step(latencies[order], front, where="post", color="C0", label="true front")
    for limit in sorted({row["limit_ms"] for row in rows}):
        axes.axvline(limit, color="0.5", linewidth=0.8, linestyle="--")
    axes.scatter(
        [row["true_ms"] for row in rows],
        [row["accuracy"] for row in rows],
        marker="x",
        color="C3",
        zorder=3,
        label="results of darts.find",
    )
    axes.set(xlabel=f"latency on {rows[0]['device']} in ms", ylabel="test accuracy in %")
    axes.set_ylim(float(np.quantile(accuracies, 0.1)), 95)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("--nas201", type=Path, required=True, help="table of NAS-Bench-201")
    parser.add_argument("--latencies", type=Path, required=True, help="latencies of all cells")
    parser.add_argument("--device", default="raspi4", help="column of the latencies")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--limits", type=float, nargs="*", help="in ms; by default quantiles")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/limited_find"))
    parser.add_argument("--unverified", action="store_true", help="accept another CIFAR-10")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the runs
    truth = read_truth(args)
    model = args.out / f"{args.device}.json"
    table_words = (f"table={args.latencies.resolve()}", f"column={args.device}", "train=200")
    run(
        "device",
        args.out / f"fit-{args.device}",
        "action=fit",
        "space=nas201",
        *table_words,
        f"out={model}",
    )
    latencies = list(truth.latencies.values())
    limits = args.limits or [round(float(np.quantile(latencies, q)), 2) for q in QUANTILES]
    for seed, limit in itertools.product(args.seeds, limits):
        key = {"device": args.device, "minutes": args.minutes, "limit_ms": limit, "seed": seed}
        done = [[row[k] for k in KEY] for row in record("limited_find", KEY, [])]
        if [key[k] for k in KEY] not in done:
            row = find(args, truth, model, key)
            record("limited_find", KEY, [row])
            print(row, flush=True)
    rows = [r for r in record("limited_find", KEY, []) if r["device"] == args.device]
    rows.sort(key=lambda row: (row["limit_ms"], row["seed"]))
    groups = itertools.groupby(rows, key=lambda row: row["limit_ms"])
    put_table("limited_find", table(COLUMNS, [describe(list(group)) for _, group in groups]))
    draw(rows, truth, HERE / "results" / "limited_find.svg")


if __name__ == "__main__":
    main()
