"""Strategies of black-box search on NAS-Bench-201: regret against the number of queries.

    python experiments/compare_strategies.py --table nasbench201.csv

Each strategy asks for the validation accuracy after 12 epochs of so many cells, and is judged by
the test accuracy after 200 epochs of the cell that was best by what it asked for. Random search
stands beside what the table implies for it: the best of so many cells drawn without a computer.

Rows go to results/compare_strategies.json, a table into README.md and the picture into docs/images.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from benchmark import hardware, put_table, record, table
from scipy.stats import mannwhitneyu

from darts.hpo.study import suggested
from darts.judging import nas201_table
from darts.plotting.style import save_figure
from darts.plotting.trials import regret
from darts.spaces.nas201 import decode, parameters
from darts.spaces.parameters import Parameters
from darts.strategies import STRATEGIES, Setup

BASELINE = "random"
COMMAND = "python experiments/compare_strategies.py --table FILE"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "regret.svg"


class Space:
    """What ``suggested`` asks for parameters."""

    parameters = Parameters(parameters())


def trace(name: str, seed: int, queries: int, valid: Any, test: Any) -> list[float]:
    """True accuracy, after each query, of the best cell asked for so far."""
    setup = Setup(Space.parameters, seed)
    study = optuna.create_study(direction="maximize", sampler=STRATEGIES[name]().sampler(setup))
    asked: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        asked.append(decode(suggested(trial, Space)).index)
        return float(valid[asked[-1]])

    study.optimize(objective, n_trials=queries)
    best, found = asked[0], []
    for index in asked:
        best = index if valid[index] > valid[best] else best
        found.append(float(test[best]))
    return found


def implied(queries: int, valid: Any, test: Any, draws: int = 10_000) -> tuple[float, float]:
    """Mean and deviation of the best of so many cells at random, by direct simulation."""
    draw = np.random.default_rng(0)
    cells = draw.integers(len(valid), size=(draws, queries))
    best = cells[np.arange(draws), valid[cells].argmax(1)]
    return float(test[best].mean()), float(test[best].std(ddof=1))


def main() -> None:
    """Run all, and write rows, table and picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", required=True, type=Path, help="accuracies of all cells")
    parser.add_argument("--strategies", nargs="*", default=["random", "evolution", "greedy", "tpe"])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--queries", type=int, default=100)
    given = parser.parse_args()
    unknown = sorted(set(given.strategies) - set(STRATEGIES))
    if unknown:
        parser.error(f"unknown strategies {', '.join(unknown)}; known: {', '.join(STRATEGIES)}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    truth = nas201_table.load(given.table)
    valid, test = truth.column(split="val", epochs=12), truth.column()
    optimum = float(test.max())

    curves: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for name in given.strategies:
        begin = time.perf_counter()
        traces = [
            trace(name, seed, given.queries, valid, test)
            for seed in random.Random(0).sample(range(10**6), given.seeds)
        ]
        seconds = time.perf_counter() - begin
        curves[name] = optimum - np.array(traces)  # (seeds, queries)
        ends = [one[-1] for one in traces]
        baseline = [optimum - end for end in curves.get(BASELINE, curves[name])[:, -1]]
        rows.append(
            {
                "strategy": name,
                "queries": given.queries,
                "seeds": given.seeds,
                "mean": statistics.mean(ends),
                "deviation": statistics.stdev(ends),
                "regret": optimum - statistics.mean(ends),
                "optimal": sum(end == optimum for end in ends) / len(ends),
                "p": None
                if name == BASELINE
                else float(mannwhitneyu(ends, baseline, alternative="greater").pvalue),
                "seconds_per_query": seconds / given.seeds / given.queries,
                "command": COMMAND,
                "hardware": hardware("cpu"),
            }
        )
        print(f"{name}: {rows[-1]['mean']:.2f} ± {rows[-1]['deviation']:.2f}", flush=True)
    record("compare_strategies", ("strategy", "queries"), rows)

    mean, deviation = implied(given.queries, valid, test)
    columns = [
        *("strategy", "true test accuracy %", "regret", "found the best cell"),
        *("p against random", "ms a query"),
    ]
    lines = [
        (
            f"`{row['strategy']}`",
            f"{row['mean']:.2f} ± {row['deviation']:.2f}",
            f"{row['regret']:.2f}",
            f"{100 * row['optimal']:.0f} %",
            "" if row["p"] is None else f"{row['p']:.1g}",
            f"{1000 * row['seconds_per_query']:.1f}",
        )
        for row in sorted(rows, key=lambda row: -row["mean"])
    ]
    text = (
        f"{given.queries} queries, {given.seeds} seeds each; p by Mann and Whitney, one-sided. "
        f"For {given.queries} random cells the table implies {mean:.2f} ± {deviation:.2f}; "
        f"the best cell has {optimum:.2f}."
    )
    put_table("compare_strategies", f"{table(columns, lines)}\n\n{text}")
    save_figure(regret(curves), PICTURE)


if __name__ == "__main__":
    main()
