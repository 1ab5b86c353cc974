"""Black-box search strategies on NAS-Bench-201: regret as a function of the number of queries.

    python experiments/compare_strategies.py --table nasbench201.csv

Each strategy queries the benchmark table for the validation accuracy (after 12 epochs) of a number
of cells. Its result is the test accuracy (after 200 epochs) of the cell with the best queried
accuracy. A simulation without Optuna checks the result of random search.

The results are written to results/compare_strategies.json and README.md, and the figure to
docs/images/regret.svg.
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure
from records import Row, mean_interval, parser_of, put_table, record, table
from scipy.stats import mannwhitneyu

from darts.judging import nas201_table
from darts.plotting.style import add_legend, line_style, new_figure, save_figure, style_axes
from darts.spaces.nas201 import Nas201
from darts.spaces.parameters import Parameters
from darts.strategies import STRATEGIES, Setup
from darts.strategies.strategy import suggest_point

BASELINE = "random"
COMMAND = "python experiments/compare_strategies.py --table FILE"
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "regret.svg"
SPACE = Nas201()
PARAMETERS = Parameters(SPACE.parameters())


def trace_accuracy(name: str, seed: int, queries: int, valid: Any, test: Any) -> list[float]:
    """Return the true accuracy of the best cell so far, after each query.

    Args:
        name: Name of the strategy.
        seed: Its seed.
        queries: Number of cells to query.
        valid, test: Accuracies of all cells in percent, ``(cells,)``.
    """
    setup = Setup(PARAMETERS, seed)
    study = optuna.create_study(
        direction="maximize", sampler=STRATEGIES[name]().make_sampler(setup)
    )
    queried: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        queried.append(SPACE.decode(suggest_point(trial, PARAMETERS)).index)
        return float(valid[queried[-1]])

    study.optimize(objective, n_trials=queries)
    best, accuracies = queried[0], []
    for index in queried:
        best = index if valid[index] > valid[best] else best
        accuracies.append(float(test[best]))
    return accuracies


def simulate_random(
    queries: int, valid: Any, test: Any, draws: int = 10_000
) -> tuple[float, float]:
    """Simulate random search; return mean and deviation of the test accuracy of its results."""
    rng = np.random.default_rng(0)
    cells = rng.integers(len(valid), size=(draws, queries))
    best = cells[np.arange(draws), valid[cells].argmax(1)]
    return float(test[best].mean()), float(test[best].std(ddof=1))


def draw_regret(curves: dict[str, Any]) -> Figure:
    """Draw the mean regret of each strategy over its queries, with a 95 % confidence interval.

    Args:
        curves: By strategy, the regret after each query, ``(seeds, queries)``.
    """
    figure = new_figure(7.0, 3.8)
    axes = figure.add_subplot()
    for index, (name, regrets) in enumerate(curves.items()):
        points = [mean_interval(values) for values in regrets.T]
        queries = range(1, len(points) + 1)
        style = line_style(index, f"{name} ({len(regrets)} seeds)")
        axes.plot(queries, [mean for mean, _, _ in points], **style)
        # Regret is at least 0, even if its symmetric interval is not.
        low = [max(0.0, low) for _, low, _ in points]
        high = [high for _, _, high in points]
        axes.fill_between(queries, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axes.set(xscale="log", xlabel="queries", ylabel="regret")
    axes.set_ylim(bottom=0)
    style_axes(axes)
    add_legend(figure)
    return figure


def main() -> None:
    """Run all strategies, and write the results and the figure."""
    parser = parser_of(__doc__)
    parser.add_argument("--table", required=True, type=Path, help="benchmark table")
    parser.add_argument("--strategies", nargs="*", default=["random", "evolution", "greedy", "tpe"])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--queries", type=int, default=100)
    args = parser.parse_args()
    unknown = sorted(set(args.strategies) - set(STRATEGIES))
    if unknown:
        parser.error(
            f"unknown strategies {', '.join(unknown)}; choose from {', '.join(STRATEGIES)}"
        )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    benchmark = nas201_table.load(args.table)
    valid, test = benchmark.column(split="val", epochs=12), benchmark.column()
    optimum = float(test.max())

    curves: dict[str, Any] = {}
    rows: list[Row] = []
    for name in args.strategies:
        begin = time.perf_counter()
        traces = [
            trace_accuracy(name, seed, args.queries, valid, test)
            for seed in random.Random(0).sample(range(10**6), args.seeds)
        ]
        seconds = time.perf_counter() - begin
        curves[name] = optimum - np.array(traces)  # (seeds, queries)
        final = [trace[-1] for trace in traces]
        baseline = [optimum - regret for regret in curves.get(BASELINE, curves[name])[:, -1]]
        rows.append(
            {
                "strategy": name,
                "queries": args.queries,
                "seeds": args.seeds,
                "mean": statistics.mean(final),
                "deviation": statistics.stdev(final),
                "regret": optimum - statistics.mean(final),
                "optimal": sum(accuracy == optimum for accuracy in final) / len(final),
                "p": None
                if name == BASELINE
                else float(mannwhitneyu(final, baseline, alternative="greater").pvalue),
                "seconds_per_query": seconds / args.seeds / args.queries,
                "command": COMMAND,
            }
        )
        print(f"{name}: {rows[-1]['mean']:.2f} ± {rows[-1]['deviation']:.2f}", flush=True)
    record("compare_strategies", ("strategy", "queries"), rows)

    mean, deviation = simulate_random(args.queries, valid, test)
    columns = [
        "strategy",
        "true test accuracy %",
        "regret",
        "found the best cell",
        "p against random",
        "ms per query",
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
        f"{args.queries} queries, {args.seeds} seeds each; p of the one-sided Mann-Whitney test. "
        f"For {args.queries} random cells, a simulation gives {mean:.2f} ± {deviation:.2f}; "
        f"the best cell has {optimum:.2f}."
    )
    put_table("compare_strategies", f"{table(columns, lines)}\n\n{text}")
    save_figure(draw_regret(curves), FIGURE)


if __name__ == "__main__":
    main()
