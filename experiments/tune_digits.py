"""Architecture and hyperparameters together, or one of them, with the same time: who finds more?

    python experiments/tune_digits.py --hours 0.25 --workers 2

runs ``experiment=digits_joint`` three times: as it is, with its architecture alone and with its
hyperparameters alone, all from the same base and with the same budget. The three winners and the
default pair, from which all start, are then trained with seeds that no search has used; each seed
has a validation split and weights of its own. The test split is scored at the end of these
trainings and nowhere else.

A study or training that is complete is not run again and an interrupted one is resumed, so the
script may be stopped at any time; what a study has had of its budget is counted. Rows go to
results/tune_digits.json and, as a table, into README.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import hardware, put_table, record, table
from compare_nas201 import mean_and_deviation, run

from darts.config import compose
from darts.tracking.files import read_json

EXPERIMENT = "experiment=digits_joint"
SEARCHES: dict[str, tuple[str, ...]] = {  # what each leaves out of the experiment's parameters
    "joint": (),
    "architecture": ("~parameters.optimizer", "~parameters.loader", "~parameters.drop_path"),
    "hyperparameters": ("~parameters.genotype",),
}
DEFAULT = "default"
FIRST_SEED = 100  # of the trainings; the studies' seeds are below
KEY = ("search", "study_seed", "seed")
SCORES = ("valid_loss", "valid_accuracy", "test_loss", "test_accuracy")


def studied(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """One study: what it tells, and the overrides of its best."""
    directory = given.runs / f"{name}-{given.seed}"
    summary = run(
        "tune",
        directory,
        EXPERIMENT,
        *SEARCHES[name],
        f"budget.hours={given.hours}",
        f"workers={given.workers}",
        "account.corners=0",
        "account.final=false",
        f"seed={given.seed}",
        *given.overrides,
    )
    return {
        "trials": summary["trials"],
        "found": summary["valid_loss"],
        "seconds": summary["seconds"],
        "overrides": read_json(directory / "best.json")["overrides"],
    }


def default_overrides(given: argparse.Namespace) -> list[str]:
    """The pair from which all searches start."""
    config = compose("tune", [EXPERIMENT, *given.overrides])
    return [*config.base, *config.overrides, f"metric={config.metric}"]


def trained(name: str, study: dict[str, Any], seed: int, given: argparse.Namespace) -> None:
    """Train a pair with a fresh seed, and put its scores on record."""
    overrides = [o for o in study["overrides"] if not o.startswith("seed=")]
    told: dict[str, Any] = {key: study[key] for key in ("trials", "found") if key in study}
    summary = run(
        "retrain",
        given.runs / f"{name}-{given.seed}-trained" / str(seed),
        *overrides,
        f"seed={seed}",
    )
    row = {
        "search": name,
        "study_seed": given.seed,
        "seed": seed,
        **{score: summary[score] for score in SCORES},
        "parameters": summary["parameters"],
        **told,
        "study_seconds": study.get("seconds"),
        "command": f"python experiments/tune_digits.py --hours {given.hours} "
        f"--workers {given.workers}",
        "overrides": overrides,
        "hardware": hardware("cpu"),
    }
    record("tune_digits", KEY, [row])
    print(f"{name} {seed}: test loss {row['test_loss']:.4f}", flush=True)


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The table of all rows, best validation loss first, and in words who is better than whom."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["search"], []).append(row)

    def mean(name: str, score: str) -> float:
        return statistics.mean(row[score] for row in groups[name])

    def shown(name: str, score: str) -> str:
        percent = score.endswith("accuracy")
        values = [row[score] * (100 if percent else 1) for row in groups[name]]
        return mean_and_deviation(values, 2 if percent else 4)

    columns = [
        *("search", "trials", "loss of its best trial", "seeds", "validation loss"),
        *("validation accuracy %", "test loss", "test accuracy %", "weights"),
    ]
    lines = []
    for name in sorted(groups, key=lambda name: mean(name, "valid_loss")):
        first = groups[name][0]
        found = f"{first['found']:.4f}" if "found" in first else ""
        lines.append(
            (
                *(name, first.get("trials", ""), found, len(groups[name])),
                *(shown(name, score) for score in SCORES),
                f"{first['parameters']:,}",
            )
        )
    return "\n\n".join([table(columns, lines), *verdicts(groups)])


def verdicts(groups: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A sentence a comparison of the joint search, with Welch's test of the losses."""
    from scipy.stats import ttest_ind

    sentences = []
    for other in (DEFAULT, "architecture", "hyperparameters"):
        if not {other, "joint"} <= set(groups):
            continue
        parts = []
        for part in ("valid", "test"):
            own = [row[f"{part}_loss"] for row in groups["joint"]]
            theirs = [row[f"{part}_loss"] for row in groups[other]]
            gain = statistics.mean(theirs) - statistics.mean(own)
            word = "better" if gain > 0 else "worse"
            line = f"{word} by {abs(gain):.4f}"
            if min(len(own), len(theirs)) > 1:
                line += f" (p = {ttest_ind(own, theirs, equal_var=False).pvalue:.2g})"
            parts.append(f"{'validation' if part == 'valid' else 'test'} loss {line}")
        name = "the default pair" if other == DEFAULT else f"the search for {other} alone"
        sentences.append(f"Joint search against {name}: {', '.join(parts)}.")
    return sentences


def main() -> None:
    """Run what is missing, and write rows and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.25, help="of each study")
    parser.add_argument("--workers", type=int, default=2, help="of each study")
    parser.add_argument("--seed", type=int, default=0, help="of the studies")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each winner")
    parser.add_argument("--runs", default=Path("runs/tune_digits"), type=Path)
    parser.add_argument("--overrides", nargs="*", default=[], help="for all studies")
    given = parser.parse_args()
    studies = {name: studied(name, given) for name in SEARCHES}
    studies[DEFAULT] = {"overrides": default_overrides(given)}
    have = {tuple(row[key] for key in KEY) for row in record("tune_digits", KEY, [])}
    for seed in range(FIRST_SEED, FIRST_SEED + given.seeds):
        for name, study in studies.items():
            if (name, given.seed, seed) not in have:
                trained(name, study, seed, given)
    rows = [r for r in record("tune_digits", KEY, []) if r["study_seed"] == given.seed]
    put_table("tune_digits", report(rows))


if __name__ == "__main__":
    main()
