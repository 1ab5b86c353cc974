"""Compare the final genotype of a search with the one that a collapse check returns to.

    python experiments/compare_rollback.py

Searches S2 (skip connection or separable convolution on every edge) with first-order DARTS and
several seeds to the end, with ``collapse.action=warn``. Then two genotypes of each search are
retrained with the same settings and seeds: the final one, and the one that
``collapse.action=rollback`` would have returned at the first warning that follows a healthy check.
Of a search without such a warning, only the final genotype is retrained; equal genotypes are
retrained once. A finished run is not repeated, and an interrupted run is resumed. The results are
written to results/compare_rollback.json and README.md.

With the defaults of the digits, searches do not collapse. With few images, many epochs and five
times the learning rate of the alphas they do; these are the defaults of this script.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, section 3: the space, and how DARTS fails on it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from records import Row, mean_and_deviation, parser_of, put_table, record, table
from runs import run

from darts.methods.collapse import count_edges
from darts.spaces import SPACES, parse_genotype
from darts.tracking.metrics import read_metrics
from darts.writing import write_atomically

KEY = ("dataset", "space", "seed", "epochs", "arch_lr", "overrides", "retrain_overrides")
KINDS = ("final", "rollback")


def warning_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows in which the collapse checks warned."""
    return [row for row in rows if row.get("collapse_verdict", "healthy") != "healthy"]


def find_rollback(rows: Sequence[Row]) -> tuple[int, int, str] | None:
    """Return what ``collapse.action=rollback`` would have done, or None if nothing.

    Returns:
        The epoch of the first warning that follows a healthy check, which would have ended the
        search, and the epoch and text of the genotype that it would have returned.
    """
    by_epoch = {row["epoch"]: row["genotype"] for row in rows if "genotype" in row}
    for row in warning_rows(rows):
        healthy = row["collapse_healthy_epoch"]
        if healthy is not None:
            return row["epoch"], healthy, by_epoch[healthy]
    return None


def skip_fraction(text: str) -> float:
    """Return the fraction of a genotype's edges that are skip connections."""
    genotype = parse_genotype(text)
    skips = count_edges(genotype, SPACES[genotype.space].skip_operations)
    return sum(skips.values()) / sum(count_edges(genotype).values())


def retrain(text: str, directory: Path, seed: int, args: argparse.Namespace) -> Row:
    """Return the mean scores of a genotype's retrainings, and the test accuracy of each."""
    file = directory / "genotype.json"
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(file, parse_genotype(text).to_json())
    name = "_".join(args.retrain_overrides).replace("/", "-") or "recipe"
    summaries = [
        run(
            "retrain",
            directory / f"{name}_{number}",
            f"dataset={args.dataset}",
            f"dataset.root={args.root}",
            f"genotype={file}",
            f"seed={1000 * seed + number}",
            *args.retrain_overrides,
        )
        for number in range(args.retrainings)
    ]
    scores: Row = {"parameters": summaries[0]["parameters"]}
    for score in ("valid_accuracy", "test_accuracy"):
        scores[score] = statistics.mean(summary[score] for summary in summaries)
    return {**scores, "test_accuracies": [summary["test_accuracy"] for summary in summaries]}


def compare(seed: int, args: argparse.Namespace) -> Row:
    """Run one search, retrain its two genotypes, and return the row."""
    settings = (f"epochs={args.epochs}", f"arch_optimizer.lr={args.arch_lr}", *args.overrides)
    name = "_".join([f"seed{seed}", *settings]).replace("/", "-")
    directory = args.runs / args.dataset / args.space / name
    size = ("space.channels=8", "space.cells=3") if args.dataset == "digits" else ()
    summary = run(
        "search",
        directory / "search",
        "method=darts_v1",
        f"dataset={args.dataset}",
        f"dataset.root={args.root}",
        f"space.candidates={args.space}",
        f"seed={seed}",
        "collapse.every=10",
        "collapse.ratio=0.75",
        *(*size, *settings),
    )
    rows = read_metrics(directory / "search" / "metrics.jsonl")
    genotypes = {"final": summary["genotype"]}
    if (back := find_rollback(rows)) is not None:
        genotypes["rollback"] = back[2]
    scores: dict[str, Row] = {}
    for kind, text in genotypes.items():
        if kind == "rollback" and text == genotypes["final"]:
            scores[kind] = scores["final"]
        else:
            scores[kind] = retrain(text, directory / kind, seed, args)
    checks = [row for row in rows if "collapse_verdict" in row]
    return {
        "dataset": args.dataset,
        "space": args.space,
        "seed": seed,
        "epochs": args.epochs,
        "arch_lr": args.arch_lr,
        "overrides": list(args.overrides),
        "retrain_overrides": list(args.retrain_overrides),
        "warnings": [row["epoch"] for row in warning_rows(rows)],
        "end_epoch": None if back is None else back[0],
        "rollback_epoch": None if back is None else back[1],
        "verdicts": {row["epoch"]: row["collapse_verdict"] for row in checks},
        "genotypes": genotypes,
        "skips": {kind: skip_fraction(text) for kind, text in genotypes.items()},
        "scores": scores,
        "collapse_seconds": sum(row["collapse_seconds"] for row in checks),
        "seconds": summary["seconds"],
    }


def report(rows: Sequence[Row]) -> str:
    """Return one line per search, and the means over the searches with a rollback."""
    lines = []
    for row in sorted(rows, key=lambda row: [str(row[key]) for key in KEY]):
        cells: list[object] = [row["dataset"], row["space"].upper(), row["epochs"], row["seed"]]
        cells += [len(row["warnings"]), row["end_epoch"] or "", row["rollback_epoch"] or ""]
        for field, name in (("skips", None), ("scores", "test_accuracy")):
            for kind in KINDS:
                value = row[field].get(kind)
                value = value[name] if name and value else value
                cells.append("" if value is None else f"{100 * value:.2f}")
        lines.append(cells)
    columns = ("data", "space", "epochs", "seed", "warnings", "ends at", "returns to")
    measured = ("skips % final", "rollback", "test % final", "rollback")
    text = table((*columns, *measured), lines)
    both = [row for row in rows if "rollback" in row["scores"]]
    if both:
        pairs = [[row["scores"][kind]["test_accuracy"] for row in both] for kind in KINDS]
        means = [
            f"{kind} {mean_and_deviation([100 * score for score in own])} %"
            for kind, own in zip(KINDS, pairs, strict=True)
        ]
        better = sum(back > final for final, back in zip(*pairs, strict=True))
        text += (
            f"\n\nA rollback would have ended {len(both)} of {len(rows)} searches. Test accuracy "
            f"of these: {', '.join(means)}; the rollback is better in {better} of {len(both)}."
        )
    return text


def main() -> None:
    """Run what is missing and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--runs", default=Path("runs/compare_rollback"), type=Path)
    parser.add_argument("--space", default="s2", help="space.candidates")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100, help="of each search")
    parser.add_argument("--arch-lr", type=float, default=0.05)
    parser.add_argument(
        "--overrides", nargs="*", default=["dataset.subset=400"], help="of the searches"
    )
    parser.add_argument("--retrainings", type=int, default=3, help="of each genotype")
    parser.add_argument(
        "--retrain-overrides", nargs="*", default=["dataset.subset=400"], help="of the retrainings"
    )
    args = parser.parse_args()
    for seed in range(args.seeds):
        row = compare(seed, args)
        scores = {kind: round(100 * own["test_accuracy"], 2) for kind, own in row["scores"].items()}
        print(f"seed {seed}: warnings at epochs {row['warnings']}, test % {scores}", flush=True)
        record("compare_rollback", KEY, [row])
    put_table("compare_rollback", report(record("compare_rollback", KEY, [])))


if __name__ == "__main__":
    main()
