"""All search methods on NAS-Bench-201, compared by the true accuracy of the cells they find.

    python experiments/nas201_study.py --table nasbench201.csv --root data

Each method runs its published search on CIFAR-10, shortened by the rule of
``experiment=nas201_study``, and the resulting cell is looked up in the benchmark table. Recorded
rows and finished runs are not repeated and interrupted runs are resumed, so the script may be
stopped at any time (delete a row to measure it again). One baseline is random search: it trains
random cells for a few epochs, one after the other, until it has used the energy of a first-order
search, and returns the best cell on validation data. Where energy is estimated from processor time,
equal energy means equal processor time, whatever else runs on the machine. The other baselines need
no search, or only the table.

The results are written to results/nas201_study.json and README.md. ``--jobs 2`` runs two searches
in parallel, each with ``OMP_NUM_THREADS`` threads.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nas201_methods import METHODS
from records import (
    Row,
    grouped,
    mean_and_deviation,
    mean_interval,
    parser_of,
    put_table,
    record,
    table,
)
from runs import run

from darts.judging.nas201_table import Table, load
from darts.spaces.nas201 import Genotype
from darts.tracking.metrics import read_metrics

BASELINE = "random_search"
ALL_3X3 = Genotype.from_operations(*["nor_conv_3x3"] * 6)
KEY = ("method", "seed")
CELLS = 15625  # architectures of the space
COMMAND = "python experiments/nas201_study.py --table FILE --root DIR"  # recorded without paths
QUIET = ("tracking.figures=false", "tracking.tensorboard=false", "dataset.verify=false")


def make_row(method: str, seed: int, arch: str, benchmark: Table, **more: Any) -> Row:
    """Return the row of an architecture, with its entries in the benchmark table."""
    return {
        "method": method,
        "seed": seed,
        "arch": arch,
        "accuracy": benchmark.accuracy(arch),
        "regret": benchmark.regret(arch),
        "rank": benchmark.rank(arch),
        "percentile": 100 * ((len(benchmark) + 1 - benchmark.rank(arch)) / len(benchmark)),
        "skips": Genotype.parse(arch).count("skip_connect"),
        "command": COMMAND,
        **more,
    }


def search(method: str, seed: int, args: argparse.Namespace, benchmark: Table) -> Row:
    """Run one search and return its row."""
    directory = args.runs / f"{method}-{seed}"
    summary = run(
        "search",
        directory,
        "experiment=nas201_study",
        *METHODS[method].arguments(method),
        f"dataset.root={args.root}",
        f"benchmark.table={args.table}",
        f"seed={seed}",
        *QUIET,
        *args.overrides,
    )
    history = [row for row in read_metrics(directory / "metrics.jsonl") if "true_accuracy" in row]
    return make_row(
        method,
        seed,
        summary["genotype"],
        benchmark,
        seconds=summary["seconds"],
        joules=summary["joules"],
        valid_accuracy=summary["valid_accuracy"],
        history=[round(100 * row["true_accuracy"], 2) for row in history],
    )


def random_search(seed: int, budget: float, args: argparse.Namespace, benchmark: Table) -> Row:
    """Train random cells briefly until they have used ``budget`` joules; return the best's row."""
    rng = random.Random(seed)
    seconds, joules = 0.0, 0.0
    scores: dict[str, float] = {}
    while joules < budget:
        genotype = Genotype.from_index(rng.randrange(CELLS))
        summary = run(
            "retrain",
            args.runs / f"{BASELINE}-{seed}" / str(genotype.index),
            f"genotype={genotype}",
            "experiment=nas201_study",
            f"dataset.root={args.root}",
            f"seed={seed}",
            *QUIET,
            *args.overrides,
        )
        seconds, joules = seconds + summary["seconds"], joules + summary["joules"]
        scores[str(genotype)] = summary["valid_accuracy"]
    best = max(scores, key=lambda arch: scores[arch])
    return make_row(
        BASELINE,
        seed,
        best,
        benchmark,
        seconds=seconds,
        joules=joules,
        valid_accuracy=scores[best],
        cells=len(scores),
    )


def interval(values: Sequence[float]) -> str:
    """Return the 95 % interval of the mean by Student's t distribution, within 0 and 100 %."""
    if len(values) == 1:
        return ""
    _, low, high = mean_interval(values)
    return f"{max(low, 0.0):.2f} to {min(high, 100.0):.2f}"


def report(rows: Sequence[Row], all_3x3: float) -> str:
    """Return the table of all methods, best mean first."""
    groups = grouped(rows, "method").items()
    ordered = sorted(groups, key=lambda group: -statistics.mean(r["accuracy"] for r in group[1]))
    columns = [
        "method",
        "seeds",
        "true test accuracy %",
        "95 % interval",
        "all seeds",
        f"seeds above {all_3x3:.2f}",
        "skips",
        "seconds",
        "kJ (estimate)",
        "published %",
    ]
    lines = []
    for (name,), group in ordered:
        own = sorted(group, key=lambda row: row["seed"])
        accuracies = [row["accuracy"] for row in own]
        lines.append(
            (
                f"`{name}`",
                len(own),
                mean_and_deviation(accuracies),
                interval(accuracies),
                ", ".join(f"{accuracy:.2f}" for accuracy in accuracies),
                sum(accuracy > all_3x3 for accuracy in accuracies),
                ", ".join(str(row["skips"]) for row in own),
                f"{statistics.mean(row['seconds'] for row in own):.0f}",
                f"{statistics.mean(row['joules'] for row in own) / 1000:.1f}",
                METHODS[name].accuracy if name in METHODS else "",
            )
        )
    return table(columns, lines)


def best_of_ten(benchmark: Table, indices: Sequence[int], draws: int = 2000) -> list[float]:
    """Return true accuracies of the best of ten random cells by a short training, in many draws."""
    rng = random.Random(0)
    short = benchmark.column(split="val", epochs=12)
    true = benchmark.column()
    chosen = (max(rng.choices(indices, k=10), key=lambda index: short[index]) for _ in range(draws))
    return [float(true[index]) for index in chosen]


def free_baselines(benchmark: Table) -> str:
    """Return the table of what nobody has to search for."""
    archs = [Genotype.from_index(index) for index in range(CELLS)]
    indices = [benchmark.index(arch) for arch in archs]
    mostly_3x3 = [
        index for arch, index in zip(archs, indices, strict=True) if arch.count("nor_conv_3x3") >= 4
    ]
    _, optimum = benchmark.optimum()
    mean = statistics.mean(benchmark.column().tolist())
    rows = [
        ("the best cell of all", "15,625 full training runs", f"{optimum:.2f}"),
        ("3x3 convolutions on all edges", "free", f"{benchmark.accuracy(ALL_3X3):.2f}"),
        (
            "best of ten random cells with at least four 3x3 convolutions",
            "ten runs of 12 epochs",
            mean_and_deviation(best_of_ten(benchmark, mostly_3x3)),
        ),
        (
            "best of ten random cells",
            "ten runs of 12 epochs",
            mean_and_deviation(best_of_ten(benchmark, indices)),
        ),
        ("a random cell", "free", f"{mean:.2f}"),
    ]
    rank = benchmark.rank(ALL_3X3)
    return (
        table(["baseline", "cost", "true test accuracy %"], rows)
        + f"\n\nThe cell with 3x3 convolutions on all edges has rank {rank} of {CELLS:,}."
    )


def main() -> None:
    """Run what is missing and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--table", required=True, type=Path, help="benchmark table")
    parser.add_argument("--root", default="data", help="folder of CIFAR-10")
    parser.add_argument("--runs", default=Path("runs/nas201_study"), type=Path)
    parser.add_argument("--methods", nargs="*", default=[*METHODS, BASELINE])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1, help="number of parallel searches")
    parser.add_argument("--overrides", nargs="*", default=[], help="of all runs")
    args = parser.parse_args()
    unknown = sorted(set(args.methods) - {*METHODS, BASELINE})
    if unknown:
        parser.error(f"unknown methods {', '.join(unknown)}; choose from {', '.join(METHODS)}")
    benchmark = load(args.table)

    def recorded_rows() -> dict[tuple[str, int], Row]:
        return {(row["method"], row["seed"]): row for row in record("nas201_study", KEY, [])}

    def work(job: tuple[str, int]) -> None:
        method, seed = job
        try:
            if method == BASELINE:
                budget = recorded_rows()["darts_v1", seed]["joules"]
                row = random_search(seed, budget, args, benchmark)
            else:
                row = search(method, seed, args, benchmark)
        except (subprocess.CalledProcessError, KeyError) as error:
            print(f"{method} {seed}: failed: {error}", flush=True)  # continue with the others
            return
        print(f"{method} {seed}: {row['accuracy']:.2f} % in {row['seconds']:.0f} s", flush=True)
        record("nas201_study", KEY, [row])

    recorded = recorded_rows()
    jobs = [(method, seed) for seed in range(args.seeds) for method in args.methods]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(work, (job for job in jobs if job not in recorded)))
    rows = record("nas201_study", KEY, [])
    if rows:
        text = report(rows, benchmark.accuracy(ALL_3X3))
        put_table("nas201_study", f"{text}\n\n{free_baselines(benchmark)}")


if __name__ == "__main__":
    main()
