"""Fraction of skip connections or noise that methods select in two small spaces.

    python experiments/compare_collapse.py
    python experiments/compare_collapse.py --dataset cifar10 --root data --epochs 30

Searches S2 (skip connection or separable convolution on every edge) and S4 (noise or separable
convolution) with several methods and seeds. The harmful operation of each space is known: noise
never helps, and a cell of skip connections hardly learns. For each epoch of a search, the script
records the fraction of the genotype's edges that have this operation. A finished run is not
repeated. The results are written to results/compare_collapse.json and README.md.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, section 3: the spaces, and how DARTS fails on them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from records import Row, grouped, parser_of, put_table, record, table
from runs import run

from darts.spaces import parse_genotype
from darts.tracking.metrics import read_metrics

METHODS = ("darts_v1", "darts_v2", "pc_darts", "darts_minus", "sdarts_rs", "beta_darts", "gdas")
HARMFUL = {"s2": "skip_connect", "s4": "noise"}
KEY = ("dataset", "space", "method", "seed", "epochs")


def edge_fraction(text: str, operation: str) -> float:
    """Return the fraction of the edges of a genotype that have an operation."""
    genotype = parse_genotype(text)
    edges = [name for cell in genotype.cells for *_, name in genotype.edges(cell)]
    return edges.count(operation) / len(edges)


def search(space: str, method: str, seed: int, args: argparse.Namespace) -> Row:
    """Run one search and return its row."""
    directory = args.runs / args.dataset / space / f"{method}-{seed}"
    size = ("space.channels=8", "space.cells=3") if args.dataset == "digits" else ()
    summary = run(
        "search",
        directory,
        f"method={method}",
        f"dataset={args.dataset}",
        f"dataset.root={args.root}",
        f"space.candidates={space}",
        f"epochs={args.epochs}",
        f"seed={seed}",
        f"arch_optimizer.lr={args.arch_lr}",
        *size,
        *args.overrides,
    )
    history = [row for row in read_metrics(directory / "metrics.jsonl") if "genotype" in row]
    return {
        "dataset": args.dataset,
        "space": space,
        "method": method,
        "seed": seed,
        "epochs": args.epochs,
        "harmful": edge_fraction(summary["genotype"], HARMFUL[space]),
        "history": [round(edge_fraction(row["genotype"], HARMFUL[space]), 3) for row in history],
        "valid_accuracy": summary["valid_accuracy"],
        "seconds": summary["seconds"],
        "genotype": summary["genotype"],
    }


def report(rows: Sequence[Row]) -> str:
    """Return the table of the fraction of harmful operations, halfway and at the end."""
    groups = grouped(rows, "dataset", "space", "method", "epochs")
    lines = []
    for (dataset, space, method, epochs), own in sorted(groups.items()):
        halfway = [row["history"][len(row["history"]) // 2] for row in own]
        lines.append(
            (
                dataset,
                space.upper(),
                f"`{method}`",
                epochs,
                len(own),
                HARMFUL[space],
                f"{100 * statistics.mean(halfway):.0f}",
                ", ".join(f"{100 * row['harmful']:.0f}" for row in own),
                f"{100 * statistics.mean(row['valid_accuracy'] for row in own):.1f}",
            )
        )
    columns = ("data", "space", "method", "epochs", "seeds", "operation")
    return table((*columns, "% of edges halfway", "at the end", "supernet validation %"), lines)


def main() -> None:
    """Run what is missing and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--runs", default=Path("runs/compare_collapse"), type=Path)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--spaces", nargs="*", default=[*HARMFUL])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--arch-lr", type=float, default=0.01)
    parser.add_argument("--overrides", nargs="*", default=[], help="of all runs")
    args = parser.parse_args()
    for seed in range(args.seeds):
        for space in args.spaces:
            for method in args.methods:
                row = search(space, method, seed, args)
                percent = 100 * row["harmful"]
                print(f"{space} {method} {seed}: {percent:.0f} % {HARMFUL[space]}", flush=True)
                record("compare_collapse", KEY, [row])
    put_table("compare_collapse", report(record("compare_collapse", KEY, [])))


if __name__ == "__main__":
    main()
