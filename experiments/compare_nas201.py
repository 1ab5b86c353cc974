"""Search methods on NAS-Bench-201, judged by the true accuracy of what they find.

    python experiments/compare_nas201.py --table nasbench201.csv --root data

runs ``experiment=nas201_cpu`` for each method and seed, seed by seed, and looks the result up in
the table. A row on record or a finished run is not run again and an interrupted run is resumed,
so the script may be stopped at any time (delete a row to have it measured anew). Beside the methods
stands random search at the same cost: random cells, trained in the same proxy one after the other
until the energy of a first-order search is used up, the best by validation taken. Where energy is
estimated from the processor's time, that is the same computing time, whatever else goes on.

Rows go to results/compare_nas201.json and, as a table, into README.md. ``--jobs 2`` runs two
searches side by side, each with ``OMP_NUM_THREADS`` as it is set.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmark import hardware, put_table, record, table

from darts.judging import nas201_table
from darts.spaces.nas201 import Genotype
from darts.tracking.files import read_json
from darts.tracking.metrics import read_metrics

METHODS = (
    *("darts_v1", "drnas", "gdas", "pc_darts", "darts_minus", "random_sharing"),
    *("beta_darts", "sdarts_rs", "snas", "fair_darts", "lambda_darts", "oles"),
    *("darts_v2", "p_darts", "r_darts", "sdarts_adv", "darts_pt"),
)
BASELINE = "random_search"
# What a method needs beside the recipe: NAS-Bench-201 has been searched without DrNAS's partial
# channels and stages by its authors, too, and a short budget asks for other schedules.
SETTINGS: dict[str, tuple[str, ...]] = {
    "drnas": ("relaxation.partial=1", "stages=[]", "arch_optimizer.warmup=0"),
    "p_darts": (
        "epochs=30",
        "stages=[{},{keep: 0.6, fresh: true, skip_dropout: 0.4},"
        "{keep: 0.4, fresh: true, skip_dropout: 0.7}]",
        "discretize.skip_limit=null",
    ),
    "fair_darts": ("loader.batch_size=64", "optimizer.lr=0.025"),
    "darts_pt": ("discretize.tune=1", "discretize.batches=4"),
    "random_sharing": ("discretize.samples=300",),
}
PUBLISHED = {  # test accuracy on CIFAR-10 after a search on all of it, as reported
    "darts_v1": "54.30",
    "darts_v2": "54.30",
    "gdas": "93.61",
    "drnas": "94.36",
    "pc_darts": "93.41",
    "darts_minus": "93.80",
    "beta_darts": "94.36",
    "snas": "92.77",
    "random_sharing": "87.66",
}
KEY = ("method", "seed")
COMMAND = "python experiments/compare_nas201.py --table FILE --root DIR"  # paths are the user's own


def run(name: str, directory: Path, *overrides: str) -> dict[str, Any]:
    """Run a command unless its directory is complete; returns its summary."""
    if not (directory / "summary.json").exists():
        if (directory / "overrides.json").exists():
            overrides = (f"resume={directory}",)
        else:
            overrides = (*overrides, f"hydra.run.dir={directory}")
        log = directory.with_suffix(".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            words = [sys.executable, "-m", f"darts.{name}", *overrides]
            subprocess.run(words, check=True, stdout=file, stderr=file)
    summary: dict[str, Any] = read_json(directory / "summary.json")
    return summary


def row_of(method: str, seed: int, arch: str, truth: Any, **more: Any) -> dict[str, Any]:
    """What the table says about an architecture."""
    return {
        "method": method,
        "seed": seed,
        "arch": arch,
        "accuracy": truth.accuracy(arch),
        "regret": truth.regret(arch),
        "rank": truth.rank(arch),
        "percentile": truth.percentile(arch),
        "skips": Genotype.parse(arch).count("skip_connect"),
        "command": COMMAND,
        "hardware": hardware("cpu"),
        **more,
    }


def searched(method: str, seed: int, given: argparse.Namespace, truth: Any) -> dict[str, Any]:
    """One search."""
    directory = given.runs / f"{method}-{seed}"
    summary = run(
        "search",
        directory,
        f"method={method}",
        "experiment=nas201_cpu",
        f"dataset.root={given.root}",
        f"benchmark.table={given.table}",
        f"seed={seed}",
        *SETTINGS.get(method, ()),
        *given.overrides,
    )
    history = [row for row in read_metrics(directory / "metrics.jsonl") if "true_accuracy" in row]
    return row_of(
        method,
        seed,
        summary["genotype"],
        truth,
        seconds=summary["seconds"],
        joules=summary["joules"],
        valid_accuracy=summary["valid_accuracy"],
        history=[round(100 * row["true_accuracy"], 2) for row in history],
    )


def random_search(
    seed: int, budget: float, given: argparse.Namespace, truth: Any
) -> dict[str, Any]:
    """Random cells in the proxy, until the budget in joules is used up."""
    draw = random.Random(seed)
    seconds, joules = 0.0, 0.0
    scores: dict[str, float] = {}
    while joules < budget:
        genotype = Genotype.from_index(draw.randrange(15625))
        summary = run(
            "retrain",
            given.runs / f"{BASELINE}-{seed}" / str(genotype.index),
            f"genotype={genotype}",
            "experiment=nas201_cpu",
            f"dataset.root={given.root}",
            f"seed={seed}",
            *given.overrides,
        )
        seconds, joules = seconds + summary["seconds"], joules + summary["joules"]
        scores[str(genotype)] = summary["valid_accuracy"]
    best = max(scores, key=lambda arch: scores[arch])
    return row_of(
        BASELINE,
        seed,
        best,
        truth,
        seconds=seconds,
        joules=joules,
        valid_accuracy=scores[best],
        cells=len(scores),
    )


def mean_and_deviation(values: Sequence[float], digits: int = 2) -> str:
    """``mean ± deviation``, the deviation of a sample."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The table of all rows, best mean first."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    ordered = sorted(
        by_method, key=lambda name: -statistics.mean(row["accuracy"] for row in by_method[name])
    )
    columns = [
        *("method", "seeds", "true test accuracy %", "regret", "better than % of cells"),
        *("skips", "seconds", "kJ (estimate)", "published %"),
    ]
    lines = []
    for name in ordered:
        own = by_method[name]
        lines.append(
            (
                f"`{name}`",
                len(own),
                mean_and_deviation([row["accuracy"] for row in own]),
                f"{statistics.mean(row['regret'] for row in own):.2f}",
                f"{statistics.mean(row['percentile'] for row in own):.1f}",
                ", ".join(str(row["skips"]) for row in sorted(own, key=lambda row: row["seed"])),
                f"{statistics.mean(row['seconds'] for row in own):.0f}",
                f"{statistics.mean(row['joules'] for row in own) / 1000:.1f}",
                PUBLISHED.get(name, ""),
            )
        )
    return table(columns, lines)


def ten_random(truth: Any, draws: int = 2000) -> str:
    """The best of ten random cells by their validation accuracy after 12 epochs, as the truth."""
    draw = random.Random(0)
    archs = [Genotype.from_index(index) for index in range(15625)]
    best = []
    for _ in range(draws):
        chosen = max(
            (archs[draw.randrange(len(archs))] for _ in range(10)),
            key=lambda arch: truth.accuracy(arch, split="val", epochs=12),
        )
        best.append(truth.accuracy(chosen))
    average = statistics.mean(truth.accuracy(arch) for arch in archs)
    arch, optimum = truth.optimum()
    return (
        f"Best of all cells {optimum:.2f} (`{arch}`), mean {average:.2f}; best of ten random "
        f"cells by validation accuracy after 12 epochs {mean_and_deviation(best)}."
    )


def main() -> None:
    """Run what is missing, and write rows and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", required=True, type=Path, help="accuracies of all cells")
    parser.add_argument("--root", default="data", help="folder that holds or will hold CIFAR-10")
    parser.add_argument("--runs", default=Path("runs/compare_nas201"), type=Path)
    parser.add_argument("--methods", nargs="*", default=[*METHODS, BASELINE])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="searches side by side")
    parser.add_argument("--overrides", nargs="*", default=[], help="for all runs")
    given = parser.parse_args()
    unknown = sorted(set(given.methods) - {*METHODS, BASELINE})
    if unknown:
        parser.error(f"unknown methods {', '.join(unknown)}; choose from {', '.join(METHODS)}")
    truth = nas201_table.load(given.table)

    def on_record() -> dict[tuple[str, int], dict[str, Any]]:
        return {(row["method"], row["seed"]): row for row in record("compare_nas201", KEY, [])}

    def work(task: tuple[str, int]) -> None:
        method, seed = task
        try:
            if method == BASELINE:
                budget = on_record()["darts_v1", seed]["joules"]
                row = random_search(seed, budget, given, truth)
            else:
                row = searched(method, seed, given, truth)
        except (subprocess.CalledProcessError, KeyError) as error:
            print(f"{method} {seed}: failed: {error}", flush=True)  # and the others go on
            return
        print(f"{method} {seed}: {row['accuracy']:.2f} % in {row['seconds']:.0f} s", flush=True)
        record("compare_nas201", KEY, [row])

    have = on_record()
    tasks = [(method, seed) for seed in range(given.seeds) for method in given.methods]
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(work, (task for task in tasks if task not in have)))
    rows = record("compare_nas201", KEY, [])
    put_table("compare_nas201", f"{report(rows)}\n\n{ten_random(truth)}")


if __name__ == "__main__":
    main()
