"""Fronts of accuracy and latency in a space whose accuracies and latencies are known.

    python experiments/front_study.py --data DIR --nas201 FILE --latencies FILE

Four ways to find a front are compared on one thread: one search for all budgets (``front.cost``);
a supernet of random paths, in which an evolution finds the cells (``discretize=evolution``);
one search with a penalty and a limit for each budget, which have as many epochs in total; and
NSGA-II with short runs (``darts.tune strategy=nsga2``) for the time of the first way. All of
them read the same latency model, which is fitted to 200 random cells of one device. The budgets
span the latencies of all cells from the 5 % to the 95 % quantile. The tables only give the true
latencies and accuracies of the cells that each way returns. The free baselines draw as many random
cells, of all cells, or one between each two budgets, as the search for all budgets returns them.

The measure is the hypervolume: the area that the cells dominate, relative to the area of the true
front. Its corner is the largest latency and ``--reference`` percent. Finished runs are not
repeated. The results are written to results/front_study.json, the plot to results/front_study.svg,
and the table to README.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
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

from darts.judging.rankings import pareto_front
from darts.spaces.nas201 import Nas201

KEY = ("device", "subset", "epochs", "points", "way", "seed")
WAYS = {
    "front": "one search for all budgets",
    "evolution": "evolution in a supernet of random paths",
    "penalties": "one search for each budget",
    "nsga2": "NSGA-II with short runs",
    "random": "random cells",
    "between": "random cells between the budgets",
}
COLUMNS = ("way", "seeds", "hypervolume in %", "cells", "minutes")
TRAINING = (
    "dataset=cifar10",
    "validation=0.5",
    "space=nas201",
    "space.channels=8",
    "space.cells=1",
    "loader.batch_size=64",
    "optimizer.lr=0.05",
    "auxiliary=0",
    "drop_path=0",
    "cutout=0",
    "evaluate_test=false",
)  # of the trials, as in experiment/retrain/nas201_cpu.yaml
DRAWS = 1000  # fronts of random cells


def hypervolume(points: Iterable[tuple[float, float]], slowest: float, reference: float) -> float:
    """Return the area that points dominate.

    Args:
        points: Latency and accuracy of each cell.
        slowest: Latency of the corner.
        reference: Accuracy of the corner.
    """
    area, best = 0.0, reference
    for latency, accuracy in sorted(points):
        if accuracy > best and latency < slowest:
            area += (slowest - latency) * (accuracy - best)
            best = accuracy
    return area


def common(args: argparse.Namespace) -> list[str]:
    """Return the overrides of all runs."""
    return [
        *data_of(args),
        f"dataset.subset={args.subset}",
        "tracking.figures=false",
        "tracking.tensorboard=false",
    ]


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a table of a run."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# With twice as many epochs, this takes as long as a search that learns alphas.
EVOLUTION = ("relaxation=uniform", "bilevel=frozen", "discretize=evolution", "discretize.batches=4")


def search_front(
    args: argparse.Namespace, model: Path, seed: int, budgets: Sequence[float], way: str
) -> tuple[list[str], float]:
    """Search once for all budgets; return the cells and the seconds."""
    folder = args.out / f"{way}-{seed}"
    evolves = way == "evolution"
    summary = run(
        "search",
        folder,
        "experiment=nas201_cpu",
        *common(args),
        f"epochs={2 * args.epochs if evolves else args.epochs}",
        *(EVOLUTION if evolves else ()),
        "collapse.every=0",
        "front.cost=latency_ms",
        f"front.device={model.resolve()}",
        f"front.points={len(budgets)}",
        f"front.least={budgets[0]!r}",
        f"front.most={budgets[-1]!r}",
        f"seed={seed}",
    )
    return [row["genotype"] for row in rows_of(folder / "front.csv")], float(summary["seconds"])


def search_penalties(
    args: argparse.Namespace, model: Path, seed: int, budgets: Sequence[float]
) -> tuple[list[str], float]:
    """Search once for each budget, with a penalty and a limit; return the cells and the seconds."""
    cells, seconds = [], 0.0
    for number, budget in enumerate(budgets):
        summary = run(
            "search",
            args.out / f"penalties-{seed}-{number}",
            "experiment=nas201_cpu",
            *common(args),
            f"epochs={max(1, args.epochs // len(budgets))}",
            "collapse.every=0",
            f"penalty.latency={budget / 1000!r}",
            f"penalty.device={model.resolve()}",
            f"limit.latency_ms={budget!r}",
            f"limit.device={model.resolve()}",
            f"seed={seed}",
        )
        cells.append(str(summary["genotype"]))
        seconds += float(summary["seconds"])
    return list(dict.fromkeys(cells)), seconds


def evolve(
    args: argparse.Namespace, model: Path, seed: int, slowest: float, seconds: float
) -> tuple[list[str], float]:
    """Run NSGA-II for a time; return the cells of its front and its seconds."""
    folder = args.out / f"nsga2-{seed}"
    summary = run(
        "tune",
        folder,
        *TRAINING,
        *common(args),
        "strategy=nsga2",
        "parameters.genotype={space: nas201}",
        "costs=[latency_ms]",
        f"limit.latency_ms={2 * slowest!r}",
        f"limit.device={model.resolve()}",
        f"epochs={args.trial_epochs}",
        f"budget.hours={seconds / 3600!r}",
        "budget.trials=null",
        "analysis.retrain_best=false",
        "executor=inline",
        f"seed={seed}",
    )
    rows = [
        {
            "genotype": row["genotype"],
            "score": float(row["valid_accuracy"]),
            "latency": float(row["latency_ms"]),
        }
        for row in rows_of(folder / "trials.csv")
        if row["state"] == "complete"
    ]
    best = pareto_front(rows, {"score": True, "latency": False})
    return list(dict.fromkeys(str(rows[n]["genotype"]) for n in best)), float(summary["seconds"])


def random_cells(points: int, seed: int) -> list[str]:
    """Return random cells."""
    draw = torch.Generator().manual_seed(seed)
    return [str(Nas201().random(draw)) for _ in range(points)]


def cells_between(
    predicted: dict[str, float], budgets: Sequence[float], draws: np.random.Generator
) -> list[str]:
    """Return a random cell for each budget that exceeds the next smaller one."""
    cells = []
    for below, budget in zip([0.0, *budgets], budgets, strict=False):
        own = [cell for cell, ms in predicted.items() if below < ms <= budget]
        if own:
            cells.append(own[draws.integers(len(own))])
    return cells


def draw(rows: Sequence[Row], truth: Truth, path: Path) -> None:
    """Draw all cells, their true front, and the results of each way."""
    figure, axes = draw_truth(truth, str(rows[0]["device"]))
    styles = {
        "front": ("o", "C3"),
        "evolution": ("+", "C0"),
        "penalties": ("s", "C2"),
        "nsga2": ("x", "C1"),
    }
    for way, (marker, color) in styles.items():
        cells = [cell for row in rows if row["way"] == way for cell in row["cells"]]
        places = [truth.latencies[c] for c in cells], [truth.accuracies[c] for c in cells]
        axes.scatter(*places, marker=marker, color=color, s=18, zorder=3, label=WAYS[way])
    save(figure, axes, path)


def main() -> None:
    parser = parser_of(__doc__, "runs/front_study")
    parser.add_argument("--epochs", type=int, default=24, help="of the search for all budgets")
    parser.add_argument("--points", type=int, default=6, help="budgets")
    parser.add_argument("--subset", type=int, default=10_000, help="images; half train weights")
    parser.add_argument("--trial-epochs", type=int, default=2, help="of a trial of NSGA-II")
    parser.add_argument("--reference", type=float, default=80.0, help="accuracy of the corner")
    args = parser.parse_args()
    use_one_thread()
    truth, model = read_truth(args), fit_model(args)
    predicted = predict_useful_cells(model, truth)
    latencies = list(truth.latencies.values())
    slowest, (low, high) = max(latencies), np.quantile(latencies, [0.05, 0.95]).tolist()
    budgets = [round(float(budget), 3) for budget in np.linspace(low, high, args.points)]
    whole = hypervolume(
        ((ms, truth.accuracies[c]) for c, ms in truth.latencies.items()), slowest, args.reference
    )

    def share(cells: Sequence[str]) -> float:
        places = ((truth.latencies[cell], truth.accuracies[cell]) for cell in cells)
        return 100 * hypervolume(places, slowest, args.reference) / whole

    setting = {name: getattr(args, name) for name in ("device", "subset", "epochs", "points")}
    for seed in args.seeds:
        found, seconds = search_front(args, model, seed, budgets, "front")
        paths, path_seconds = search_front(args, model, seed, budgets, "evolution")
        penalties, penalty_seconds = search_penalties(args, model, seed, budgets)
        evolved, evolution_seconds = evolve(args, model, seed, slowest, seconds)
        chance = [random_cells(args.points, DRAWS * seed + n) for n in range(DRAWS)]
        draws = np.random.default_rng(seed)
        between = [cells_between(predicted, budgets, draws) for _ in range(DRAWS // 10)]
        for way, cells, value, duration in (
            ("front", found, share(found), seconds),
            ("evolution", paths, share(paths), path_seconds),
            ("penalties", penalties, share(penalties), penalty_seconds),
            ("nsga2", evolved, share(evolved), evolution_seconds),
            ("random", chance[0], float(np.mean([share(own) for own in chance])), 0.0),
            ("between", between[0], float(np.mean([share(own) for own in between])), 0.0),
        ):
            row = {**setting, "way": way, "seed": seed, "hypervolume": value, "cells": cells}
            row |= {"seconds": duration, "reference": args.reference}
            record("front_study", KEY, [row])
    rows = [r for r in record("front_study", KEY, []) if {**r, **setting} == r]
    rows.sort(key=lambda row: (list(WAYS).index(row["way"]), row["seed"]))
    lines = []
    for (way,), own in grouped(rows, "way").items():
        lines.append(
            [
                WAYS[way],
                len(own),
                mean_and_deviation([row["hypervolume"] for row in own], 1),
                ", ".join(str(len(row["cells"])) for row in own),
                f"{np.mean([row['seconds'] for row in own]) / 60:.1f}",
            ]
        )
    put_table("front_study", table(COLUMNS, lines))
    draw(rows, truth, HERE / "results" / "front_study.svg")


if __name__ == "__main__":
    main()
