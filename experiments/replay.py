"""Compare policies that divide a time budget among candidates, on recorded learning curves.

    python experiments/replay.py --seeds 2000

The curves are those of ``record_curves.py``. Each seed draws the order of the candidates and a
subset of the variants, and all policies of ``replay_policies.py`` get the same. The budgets are
shares of the length of the recorded runs, because a policy may spend all its time on one candidate.
The results are written to results/replay.json, two tables to README.md: the policies, and the race
of ``darts.find`` with other constants.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from own_data_samples import QUANTILE
from records import HERE, Row, command, put_table, record, table
from replay_curves import Curve, Numbers, Recording
from replay_policies import DEFAULTS, OTHERS, POLICIES

KEY = ("data", "budget", "policy")
REFERENCE, RACE = "uniform", "halving"
FRACTIONS = ("accuracy", "macro_f1", "micro_f1")
"""Metrics that the table shows in percent."""


def draw_order(curves: Sequence[Curve], share: float, seed: int) -> list[Curve]:
    """Return all baselines in random order, then a random share of the others in random order.

    The first candidate of ``darts.find`` stays the first one.
    """
    random = np.random.default_rng(seed)
    baselines = [curve for curve in curves[1:] if curve.is_baseline and not curve.has_setting]
    others = [curve for curve in curves[1:] if curve not in baselines]
    random.shuffle(baselines)
    random.shuffle(others)
    return [curves[0], *baselines, *others[: round(share * len(others))]]


def replay(recording: Recording, budget: float, seeds: int, share: float) -> list[Row]:
    """Return the mean score of each policy over seeds, and its difference to the reference."""
    orders = [draw_order(recording.curves, share, seed) for seed in range(seeds)]
    scores = {
        name: np.array([recording.score(policy(order, budget)) for order in orders])
        for name, policy in (POLICIES | OTHERS).items()
    }
    return [
        {
            "data": recording.data,
            "budget": budget,
            "policy": name,
            "metric": recording.metric,
            "score": float(own.mean()),
            "half_interval": half_interval(own),
            "difference": float((own - scores[reference(name)]).mean()),
            "difference_half_interval": half_interval(own - scores[reference(name)]),
            "seeds": seeds,
            "candidates": len(orders[0]),
            "command": command(),
        }
        for name, own in scores.items()
    ]


def reference(policy: str) -> str:
    """Return the policy with which a policy is compared."""
    return RACE if policy in OTHERS else REFERENCE


def half_interval(values: Numbers) -> float:
    """Return half of the 95 % interval of the mean."""
    return QUANTILE * float(values.std(ddof=1)) / math.sqrt(len(values))


def write_table() -> None:
    """Write the table of the policies, with one line for each data set and budget."""
    groups: dict[tuple[str, float], dict[str, Row]] = {}
    for row in record("replay", KEY, []):
        groups.setdefault((row["data"], row["budget"]), {})[row["policy"]] = row
    lines = []
    for (data, budget), rows in sorted(groups.items()):
        first = rows[REFERENCE]
        percent = first["metric"] in FRACTIONS
        metric = f"{first['metric']} %" if percent else first["metric"]
        size = [f"`{data}`", f"{budget:g}", metric, first["candidates"], first["seeds"]]
        lines.append([*size, *(cell(rows[name], percent) for name in POLICIES)])
    columns = ("data", "seconds", "score", "candidates", "seeds", *POLICIES)
    put_table("replay", table(columns, lines))


def write_constants() -> None:
    """Write the table of the race with other constants: the mean difference over data sets."""
    rows = [row for row in record("replay", KEY, []) if row["policy"] in OTHERS]
    budgets = sorted({row["share"] for row in rows})
    lines = []
    for name in OTHERS:
        constant = name.partition("=")[0]
        cells = [
            mean_change([row for row in rows if row["policy"] == name and row["share"] == share])
            for share in budgets
        ]
        value = getattr(DEFAULTS, constant)
        default = "warm-up + 1" if value is None else value
        lines.append([f"`{constant}`", default, name.partition("=")[2], *cells])
    columns = ("constant", "value", "other value", *(f"{share:g}" for share in budgets))
    put_table("replay_constants", table(columns, lines))


def mean_change(rows: Sequence[Row]) -> str:
    """Return the mean over data sets of the change of the score in percent, with its interval."""
    changes = np.array([percent_change(row) for row in rows])
    if len(changes) < 2:
        return ""
    worse, better = int((changes < -0.05).sum()), int((changes > 0.05).sum())
    return f"{changes.mean():+.2f} ± {half_interval(changes):.2f} ({worse} worse, {better} better)"


def percent_change(row: Row) -> float:
    """Return the difference to the race in points, or in percent of a perplexity."""
    if row["metric"] == "perplexity":
        return -100 * float(row["difference"] / row["score"])
    return 100 * float(row["difference"])


def cell(row: Row, percent: bool) -> str:
    """Return the score of a policy and, in brackets, its difference to the reference."""
    scale, digits = (100, 2) if percent else (1, 3)
    names = ("score", "half_interval", "difference", "difference_half_interval")
    score, half, difference, half_of_difference = (scale * row[name] for name in names)
    text = f"{score:.{digits}f} ± {half:.{digits}f}"
    if row["policy"] == REFERENCE:
        return text
    return f"{text} ({difference:+.{digits}f} ± {half_of_difference:.{digits}f})"


def main() -> None:
    """Replay all recordings, or the named ones, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--curves", type=Path, help="folder; results/curves by default")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.6, help="of the variants in a subset")
    parser.add_argument(
        "--budgets",
        nargs="+",
        type=float,
        default=[0.125, 0.25, 0.5, 1.0],
        help="shares of the length of the recorded runs, at most 1",
    )
    args = parser.parse_args()
    if max(args.budgets) > 1:
        parser.error(f"--budgets {max(args.budgets):g}: the recorded runs are not that long")
    folder = args.curves or HERE / "results" / "curves"
    for path in sorted(folder.glob("*.json")):
        if args.only is None or path.stem in args.only:
            recording = Recording.read(path)
            for share in args.budgets:
                rows = replay(recording, share * recording.seconds, args.seeds, args.share)
                record("replay", KEY, [{**row, "share": share} for row in rows])
    write_table()
    write_constants()


if __name__ == "__main__":
    main()
