"""Whether it pays to go back when the doctor of a search complains.

    python experiments/compare_rollback.py

searches S2 (skip connection or separable convolution on every edge) with plain DARTS and several
seeds to the end, with ``doctor.action=warn``. Then two genotypes of each search are retrained by
the same recipe and seeds: the final one, and the one that ``doctor.action=rollback`` would have
returned at the first complaint behind a healthy look. Where there is none, there is nothing to
compare; where both genotypes are the same, they are trained once. A finished run is not run again,
and an interrupted one is resumed.

The digits do not collapse by their own recipe. With few images, many epochs and a fivefold rate of
the alphas they do, and that is what is run.

References:
    Zela et al., "Understanding and Robustifying Differentiable Architecture Search",
    arXiv:1909.09656, section 3: the space, and DARTS failing on it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import command, hardware, put_table, record, table
from compare_nas201 import run

from darts.methods.collapse import counts_of
from darts.spaces import SPACES, parse_genotype
from darts.tracking.files import write_atomically
from darts.tracking.metrics import read_metrics

KEY = ("dataset", "space", "seed", "epochs", "arch_lr", "overrides", "retrain_overrides")
KINDS = ("final", "rollback")


def complaints(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows at which the doctor complained."""
    return [row for row in rows if row.get("doctor", "healthy") != "healthy"]


def rollback(rows: Sequence[dict[str, Any]]) -> tuple[int, int, str] | None:
    """The epochs of the complaint that ends the search and of the genotype, and its text.

    That is the first complaint behind a healthy look; without one, the search goes on.
    """
    by_epoch = {row["epoch"]: row["genotype"] for row in rows if "genotype" in row}
    for row in complaints(rows):
        healthy = row["doctor_healthy_epoch"]
        if healthy is not None:
            return row["epoch"], healthy, by_epoch[healthy]
    return None


def skips(text: str) -> float:
    """Share of a genotype's edges that are skip connections."""
    genotype = parse_genotype(text)
    found = counts_of(genotype, SPACES[genotype.space].skips)
    return sum(found.values()) / sum(counts_of(genotype).values())


def trained(text: str, directory: Path, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Mean scores of one genotype over its retrainings, and the test accuracy of each."""
    file = directory / "genotype.json"
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(file, parse_genotype(text).to_json())
    name = "_".join(given.retrain_overrides).replace("/", "-") or "recipe"
    summaries = [
        run(
            "retrain",
            directory / f"{name}_{number}",
            f"dataset={given.dataset}",
            f"dataset.root={given.root}",
            f"genotype={file}",
            f"seed={1000 * seed + number}",
            *given.retrain_overrides,
        )
        for number in range(given.retrainings)
    ]
    found: dict[str, Any] = {"parameters": summaries[0]["parameters"]}
    for score in ("valid_accuracy", "test_accuracy"):
        found[score] = statistics.mean(summary[score] for summary in summaries)
    return {**found, "test_accuracies": [summary["test_accuracy"] for summary in summaries]}


def studied(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One search and its two retrainings."""
    words = (f"epochs={given.epochs}", f"arch_optimizer.lr={given.arch_lr}", *given.overrides)
    name = "_".join([f"seed{seed}", *words]).replace("/", "-")
    directory = given.runs / given.dataset / given.space / name
    size = ("space.channels=8", "space.cells=3") if given.dataset == "digits" else ()
    summary = run(
        "search",
        directory / "search",
        "method=darts_v1",
        f"dataset={given.dataset}",
        f"dataset.root={given.root}",
        f"space.candidates={given.space}",
        f"seed={seed}",
        *(*size, *words),
    )
    rows = read_metrics(directory / "search" / "metrics.jsonl")
    genotypes = {"final": summary["genotype"]}
    if (back := rollback(rows)) is not None:
        genotypes["rollback"] = back[2]
    scores: dict[str, dict[str, Any]] = {}
    for kind, text in genotypes.items():
        if kind == "rollback" and text == genotypes["final"]:
            scores[kind] = scores["final"]
        else:
            scores[kind] = trained(text, directory / kind, seed, given)
    looks = [row for row in rows if "doctor" in row]
    return {
        "dataset": given.dataset,
        "space": given.space,
        "seed": seed,
        "epochs": given.epochs,
        "arch_lr": given.arch_lr,
        "overrides": list(given.overrides),
        "retrain_overrides": list(given.retrain_overrides),
        "complaints": [row["epoch"] for row in complaints(rows)],
        "end_epoch": None if back is None else back[0],
        "rollback_epoch": None if back is None else back[1],
        "verdicts": {row["epoch"]: row["doctor"] for row in looks},
        "genotypes": genotypes,
        "skips": {kind: skips(text) for kind, text in genotypes.items()},
        "scores": scores,
        "doctor_seconds": sum(row["doctor_seconds"] for row in looks),
        "seconds": summary["seconds"],
        "command": command(),
        "hardware": hardware("cpu"),
    }


def mean(values: Sequence[float]) -> str:
    """Mean and standard deviation of fractions, in percent."""
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread}"


def report(rows: Sequence[dict[str, Any]]) -> str:
    """A line a search, and below it the means over those that had something to compare."""
    lines = []
    for row in sorted(rows, key=lambda row: [str(row[key]) for key in KEY]):
        cells: list[object] = [row["dataset"], row["space"].upper(), row["epochs"], row["seed"]]
        cells += [len(row["complaints"]), row["end_epoch"] or "", row["rollback_epoch"] or ""]
        for part, name in (("skips", None), ("scores", "test_accuracy")):
            for kind in KINDS:
                value = row[part].get(kind)
                value = value[name] if name and value else value
                cells.append("" if value is None else f"{100 * value:.2f}")
        lines.append(cells)
    columns = ("data", "space", "epochs", "seed", "complaints", "ends at", "goes back to")
    measured = ("skips % final", "rollback", "test % final", "rollback")
    text = table((*columns, *measured), lines)
    both = [row for row in rows if "rollback" in row["scores"]]
    if both:
        pairs = [[row["scores"][kind]["test_accuracy"] for row in both] for kind in KINDS]
        means = [f"{kind} {mean(own)} %" for kind, own in zip(KINDS, pairs, strict=True)]
        better = sum(back > final for final, back in zip(*pairs, strict=True))
        went = f"{len(both)} of {len(rows)} searches would have gone back"
        text += f"\n\n{went}. Test accuracy of these: {', '.join(means)}; "
        text += f"going back is better in {better} of {len(both)}."
    return text


def main() -> None:
    """Run what is missing, and write rows and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", default="data")
    parser.add_argument("--runs", default=Path("runs/compare_rollback"), type=Path)
    parser.add_argument("--space", default="s2", help="space.candidates")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100, help="of a search")
    parser.add_argument("--arch-lr", type=float, default=0.05)
    parser.add_argument("--overrides", nargs="*", default=["dataset.subset=400"], help="to search")
    parser.add_argument("--retrainings", type=int, default=3, help="of each genotype")
    parser.add_argument(
        "--retrain-overrides", nargs="*", default=["dataset.subset=400"], help="to retrain"
    )
    given = parser.parse_args()
    for seed in range(given.seeds):
        row = studied(seed, given)
        scores = {kind: round(100 * own["test_accuracy"], 2) for kind, own in row["scores"].items()}
        print(f"seed {seed}: complaints at {row['complaints']}, test % {scores}", flush=True)
        record("compare_rollback", KEY, [row])
    put_table("compare_rollback", report(record("compare_rollback", KEY, [])))


if __name__ == "__main__":
    main()
