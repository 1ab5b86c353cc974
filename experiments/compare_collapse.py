"""Which methods drift to skip connections or noise, on subsets of the space made for it.

    python experiments/compare_collapse.py
    python experiments/compare_collapse.py --dataset cifar10 --root data --epochs 30

searches S2 (skip connection or separable convolution on every edge) and S4 (noise or separable
convolution) with several methods and seeds. What does harm there is known: noise never helps, and a
cell of skip connections hardly learns. For each search the share of such operations among the edges
of the genotype is kept, epoch by epoch. A finished run is not run again.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, section 3: the spaces, and DARTS failing on them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import hardware, put_table, record, table
from compare_nas201 import run

from darts.spaces import parse_genotype
from darts.tracking.metrics import read_metrics

METHODS = ("darts_v1", "darts_v2", "pc_darts", "darts_minus", "sdarts_rs", "beta_darts", "gdas")
HARMFUL = {"s2": "skip_connect", "s4": "noise"}
KEY = ("dataset", "space", "method", "seed", "epochs")


def share(text: str, operation: str) -> float:
    """Share of the edges of a genotype that carry an operation."""
    genotype = parse_genotype(text)
    edges = [name for cell in genotype.cells for *_, name in genotype.edges(cell)]
    return edges.count(operation) / len(edges)


def searched(space: str, method: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One search."""
    directory = given.runs / given.dataset / space / f"{method}-{seed}"
    size = ("space.channels=8", "space.cells=3") if given.dataset == "digits" else ()
    summary = run(
        "search",
        directory,
        f"method={method}",
        f"dataset={given.dataset}",
        f"dataset.root={given.root}",
        f"space.candidates={space}",
        f"epochs={given.epochs}",
        f"seed={seed}",
        f"arch_optimizer.lr={given.arch_lr}",
        *size,
        *given.overrides,
    )
    history = [row for row in read_metrics(directory / "metrics.jsonl") if "genotype" in row]
    return {
        "dataset": given.dataset,
        "space": space,
        "method": method,
        "seed": seed,
        "epochs": given.epochs,
        "harmful": share(summary["genotype"], HARMFUL[space]),
        "history": [round(share(row["genotype"], HARMFUL[space]), 3) for row in history],
        "valid_accuracy": summary["valid_accuracy"],
        "seconds": summary["seconds"],
        "genotype": summary["genotype"],
        "command": "python experiments/compare_collapse.py",
        "hardware": hardware("cpu"),
    }


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Mean share of harmful edges by method, halfway and at the end."""
    groups: dict[tuple[str, str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        key = (row["dataset"], row["space"], row["method"], row["epochs"])
        groups.setdefault(key, []).append(row)
    lines = []
    for (dataset, space, method, epochs), own in sorted(groups.items()):
        middle = [row["history"][len(row["history"]) // 2] for row in own]
        lines.append(
            (
                dataset,
                space.upper(),
                f"`{method}`",
                epochs,
                len(own),
                HARMFUL[space],
                f"{100 * statistics.mean(middle):.0f}",
                ", ".join(f"{100 * row['harmful']:.0f}" for row in own),
                f"{100 * statistics.mean(row['valid_accuracy'] for row in own):.1f}",
            )
        )
    columns = ("data", "space", "method", "epochs", "seeds", "operation")
    return table((*columns, "% of edges halfway", "at the end", "supernet valid %"), lines)


def main() -> None:
    """Run what is missing, and write rows and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--runs", default=Path("runs/compare_collapse"), type=Path)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--spaces", nargs="*", default=[*HARMFUL])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--arch-lr", type=float, default=0.01)
    parser.add_argument("--overrides", nargs="*", default=[], help="for all runs")
    given = parser.parse_args()
    for seed in range(given.seeds):
        for space in given.spaces:
            for method in given.methods:
                row = searched(space, method, seed, given)
                share_at_end = 100 * row["harmful"]
                print(f"{space} {method} {seed}: {share_at_end:.0f} % {HARMFUL[space]}", flush=True)
                record("compare_collapse", KEY, [row])
    put_table("compare_collapse", report(record("compare_collapse", KEY, [])))


if __name__ == "__main__":
    main()
