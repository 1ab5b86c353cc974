"""Tuning of architecture and hyperparameters together, compared with tuning one of them.

    python experiments/tune_digits.py --hours 0.25 --workers 2

Runs ``experiment=digits_joint`` three times with the same budget and base configuration: unchanged,
with the parameters of the architecture only, and with the hyperparameters only. The three winners
and the default configuration are then trained with seeds that no study has used; each seed has its
own validation split and initial weights. Only these runs use the test split, at their end.

Finished studies and runs are not repeated and interrupted ones are resumed, so the script may
be stopped at any time; a resumed study continues with the rest of its budget. The results are
written to results/tune_digits.json and README.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from records import Row, grouped, mean_and_deviation, parser_of, put_table, record, table
from runs import run

from darts.config import compose
from darts.reading import read_json

EXPERIMENT = "experiment=digits_joint"
# Overrides of each study; they remove the parameters that it does not vary.
SEARCHES: dict[str, tuple[str, ...]] = {
    "joint": (),
    "architecture": ("~parameters.optimizer", "~parameters.loader", "~parameters.drop_path"),
    "hyperparameters": ("~parameters.genotype",),
}
DEFAULT = "default"
FIRST_SEED = 100  # of the final runs; the seeds of the studies are smaller
KEY = ("search", "study_seed", "seed")
SCORES = ("valid_loss", "valid_accuracy", "test_loss", "test_accuracy")


def run_study(name: str, args: argparse.Namespace) -> Row:
    """Run one study, and return its results and the overrides of its best trial."""
    directory = args.runs / f"{name}-{args.seed}"
    summary = run(
        "tune",
        directory,
        EXPERIMENT,
        *SEARCHES[name],
        f"budget.hours={args.hours}",
        f"workers={args.workers}",
        "analysis.retrain_best=false",
        f"seed={args.seed}",
        *args.overrides,
    )
    return {
        "trials": summary["trials"],
        "found": summary["valid_loss"],
        "seconds": summary["seconds"],
        "overrides": read_json(directory / "best.json")["overrides"],
    }


def default_overrides(args: argparse.Namespace) -> list[str]:
    """Return the overrides of the default configuration: the base of all studies."""
    config = compose("tune", [EXPERIMENT, *args.overrides])
    return [*config.base, *config.overrides, f"metric={config.metric}"]


def retrain(name: str, study: Row, seed: int, args: argparse.Namespace) -> None:
    """Train a configuration with a new seed and record its scores.

    Args:
        name: Name of the study, or ``DEFAULT``.
        study: Results of the study, and the ``overrides`` of the configuration.
        seed: Seed of the training.
        args: Command line of this script.
    """
    overrides = [o for o in study["overrides"] if not o.startswith("seed=")]
    results: Row = {key: study[key] for key in ("trials", "found") if key in study}
    summary = run(
        "retrain", args.runs / f"{name}-{args.seed}-trained" / str(seed), *overrides, f"seed={seed}"
    )
    row = {
        "search": name,
        "study_seed": args.seed,
        "seed": seed,
        **{score: summary[score] for score in SCORES},
        "parameters": summary["parameters"],
        **results,
        "study_seconds": study.get("seconds"),
        "overrides": overrides,
    }
    record("tune_digits", KEY, [row])
    print(f"{name} {seed}: test loss {row['test_loss']:.4f}", flush=True)


def report(rows: Sequence[Row]) -> str:
    """Return the table of all rows, best validation loss first, and the comparisons."""
    groups = {name: own for (name,), own in grouped(rows, "search").items()}

    def mean(name: str, score: str) -> float:
        return float(statistics.mean(row[score] for row in groups[name]))

    def formatted(name: str, score: str) -> str:
        percent = score.endswith("accuracy")
        values = [row[score] * (100 if percent else 1) for row in groups[name]]
        return mean_and_deviation(values, 2 if percent else 4)

    columns = [
        "search",
        "trials",
        "loss of its best trial",
        "seeds",
        "validation loss",
        "validation accuracy %",
        "test loss",
        "test accuracy %",
        "weights",
    ]
    lines = []
    for name in sorted(groups, key=lambda name: mean(name, "valid_loss")):
        first = groups[name][0]
        best = f"{first['found']:.4f}" if "found" in first else ""
        lines.append(
            (
                name,
                first.get("trials", ""),
                best,
                len(groups[name]),
                *(formatted(name, score) for score in SCORES),
                f"{first['parameters']:,}",
            )
        )
    return "\n\n".join([table(columns, lines), *comparisons(groups)])


def comparisons(groups: dict[str, list[Row]]) -> list[str]:
    """Return one sentence per comparison with the joint search, with Welch's test of the losses."""
    from scipy.stats import ttest_ind

    sentences = []
    for other in (DEFAULT, "architecture", "hyperparameters"):
        if not {other, "joint"} <= set(groups):
            continue
        clauses = []
        for split in ("valid", "test"):
            own = [row[f"{split}_loss"] for row in groups["joint"]]
            theirs = [row[f"{split}_loss"] for row in groups[other]]
            gain = statistics.mean(theirs) - statistics.mean(own)
            word = "better" if gain > 0 else "worse"
            line = f"{word} by {abs(gain):.4f}"
            if min(len(own), len(theirs)) > 1:
                line += f" (p = {ttest_ind(own, theirs, equal_var=False).pvalue:.2g})"
            clauses.append(f"{'validation' if split == 'valid' else 'test'} loss {line}")
        name = "the default" if other == DEFAULT else f"the search for {other} alone"
        sentences.append(f"Joint search compared with {name}: {', '.join(clauses)}.")
    return sentences


def main() -> None:
    """Run what is missing and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--hours", type=float, default=0.25, help="of each study")
    parser.add_argument("--workers", type=int, default=2, help="of each study")
    parser.add_argument("--seed", type=int, default=0, help="of the studies")
    parser.add_argument("--seeds", type=int, default=5, help="number of runs of each configuration")
    parser.add_argument("--runs", default=Path("runs/tune_digits"), type=Path)
    parser.add_argument("--overrides", nargs="*", default=[], help="of all studies")
    args = parser.parse_args()
    studies = {name: run_study(name, args) for name in SEARCHES}
    studies[DEFAULT] = {"overrides": default_overrides(args)}
    recorded = {tuple(row[key] for key in KEY) for row in record("tune_digits", KEY, [])}
    for seed in range(FIRST_SEED, FIRST_SEED + args.seeds):
        for name, study in studies.items():
            if (name, args.seed, seed) not in recorded:
                retrain(name, study, seed, args)
    rows = [r for r in record("tune_digits", KEY, []) if r["study_seed"] == args.seed]
    put_table("tune_digits", report(rows))


if __name__ == "__main__":
    main()
