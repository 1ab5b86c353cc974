"""``darts.find`` within latency limits, in a space whose accuracies and latencies are known.

    python experiments/limited_find.py --data DIR --nas201 FILE --latencies FILE --minutes 15

A latency model is fitted to 200 random cells of NAS-Bench-201 on one device. For each limit and
seed, ``darts.find`` trains on CIFAR-10 in ``--data`` with one worker and one thread. The tables
only give the true accuracy and latency of each result, and the best cell whose true latency is
within the limit. *lost* is the difference from this cell. *lost by function* compares means over
all cells that compute the same function, without the luck of single runs. The limits are
quantiles of the latencies of all cells.

Finished rows are not repeated. The results are written to results/limited_find.json, the plot to
results/limited_find.svg, and the table to README.md.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from nas201_truth import (
    Truth,
    data_of,
    draw_truth,
    fit_model,
    parser_of,
    predict_useful_cells,
    read_truth,
    save,
    use_one_thread,
)
from records import HERE, Row, grouped, mean_and_deviation, put_table, record, table
from runs import run

from darts.spaces.lookup import find_genotype

KEY = ("device", "minutes", "limit_ms", "seed")
COLUMNS = (
    "limit in ms", "cells within", "seeds", "accuracy of the result", "best cell within",
    "best that the model allows", "lost", "lost by function",
    "free baseline", "true latency in ms", "found won",
)  # fmt: skip
QUANTILES = (0.1, 0.3, 0.6)


def find(args: argparse.Namespace, truth: Truth, model: Path, key: Row) -> Row:
    """Run ``darts.find`` once; return the row of results."""
    limit = float(key["limit_ms"])
    summary = run(
        "find",
        args.out / f"{args.device}-{limit:g}_ms-{args.minutes:g}_minutes-{key['seed']}",
        "experiment=nas201_cpu",
        *data_of(args),
        # More images for validation than the experiment has: they tell similar cells apart, and
        # cost less than images for training.
        "dataset.subset=8000",
        "validation=0.5",
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
    }


def function_means(truth: Truth) -> dict[str, float]:
    """Return for each cell the mean accuracy of all cells that compute the same function.

    They differ in operations without effect and in the random numbers of their runs.
    """
    functions = {cell: find_genotype(cell)[1].function for cell in truth.accuracies}
    groups: dict[str, list[float]] = {}
    for cell, function in functions.items():
        groups.setdefault(function, []).append(truth.accuracies[cell])
    return {cell: float(np.mean(groups[function])) for cell, function in functions.items()}


def describe(
    rows: Sequence[Row], truth: Truth, predicted: Mapping[str, float], means: Mapping[str, float]
) -> list[object]:
    """Return the cells of one limit, in the order of ``COLUMNS``."""
    limit = rows[0]["limit_ms"]
    best_function = max(means[cell] for cell, ms in truth.latencies.items() if ms <= limit)
    allowed = max(truth.accuracies[cell] for cell, ms in predicted.items() if ms <= limit)
    return [
        f"{rows[0]['limit_ms']:.3g}",
        f"{rows[0]['cells_within']:,}",
        len(rows),
        mean_and_deviation([row["accuracy"] for row in rows]),
        f"{rows[0]['best_within']:.2f}",
        f"{allowed:.2f}",
        f"{np.mean([row['best_within'] - row['accuracy'] for row in rows]):.2f}",
        f"{np.mean([best_function - means[row['genotype']] for row in rows]):.2f}",
        mean_and_deviation([row["baseline"] for row in rows]),
        ", ".join(f"{row['true_ms']:.3g}" for row in rows),
        f"{sum(row['origin'] != 'baseline' for row in rows)} of {len(rows)}",
    ]


def draw(rows: Sequence[Row], truth: Truth, path: Path) -> None:
    """Draw all cells, their true front, the limits, and the results."""
    figure, axes = draw_truth(truth, str(rows[0]["device"]))
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
    save(figure, axes, path)


def print_error(predicted: Mapping[str, float], truth: Truth) -> None:
    """Print the typical error of the predicted latencies."""
    errors = [abs(ms / truth.latencies[text] - 1) for text, ms in predicted.items()]
    print(
        f"{len(predicted):,} cells without useless operations; median error of the model: "
        f"{np.median(errors):.1%}"
    )


def main() -> None:
    parser = parser_of(__doc__, "runs/limited_find")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--limits", type=float, nargs="*", help="in ms; by default quantiles")
    args = parser.parse_args()
    use_one_thread()
    truth, model = read_truth(args), fit_model(args)
    predicted = predict_useful_cells(model, truth)
    print_error(predicted, truth)
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
    means = function_means(truth)
    groups = grouped(rows, "limit_ms").values()
    lines = [describe(group, truth, predicted, means) for group in groups]
    put_table("limited_find", table(COLUMNS, lines))
    draw(rows, truth, HERE / "results" / "limited_find.svg")


if __name__ == "__main__":
    main()
