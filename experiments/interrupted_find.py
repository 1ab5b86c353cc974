"""Interrupt ``darts.find`` at random moments: is there a network, and does the run end the same?

    python experiments/interrupted_find.py --own runs/own_data/data

``--own`` is a folder that ``own_data.py prepare`` has written. For each kind of data, one run with
a plan in epochs is never interrupted, and an equal one gets SIGINT, as from Ctrl-C, at ten random
moments and is resumed each time. After each interruption, ``darts.evaluate`` scores the network in
the run directory on the test split. At the end, scores, genotype and decisions of the two runs are
compared. The results are in results/interrupted_find.json and README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from own_data_sets import OVERRIDES
from own_data_table import DATA_SETS
from records import Row, command, hardware, put_table, record, table
from runs import run

from darts.reading import JsonObject, read_json_object

SETS = ("digits_28", "wine", "friedman", "chars_60k", "news_2000", "spoken_digits")
PLAN = ("plan.equal=epochs", "plan.rounds=3", "plan.slice_epochs=2", "plan.newcomers=2")
MEASURED = ("seconds", "joules", "gco2e", "name", "outlook", "verdict", "tree_note")
"""Parts of the names of values that differ between equal runs."""
WHOLE, KEY = "whole", ("data", "seed")


def working_seconds(directory: Path) -> float:
    """Return the time for which a run has worked so far, which it saves every second."""
    return float(decisions(directory).get("seconds", 0.0))


def decisions(directory: Path) -> JsonObject:
    """Return the saved decisions of a run, empty if there are none yet."""
    path = directory / "decisions.json"
    return read_json_object(path)["decisions"] if path.exists() else {}


def interrupt(directory: Path, overrides: Sequence[str], moment: float) -> int:
    """Start or resume a run, and interrupt it when it has worked for some seconds.

    Returns:
        The exit code of the process; 0 if the run ended before the moment.
    """
    begun = (directory / "config.yaml").exists()
    words = [f"resume={directory}"] if begun else [*overrides, f"hydra.run.dir={directory}"]
    with directory.with_suffix(".log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "darts.find", *words], stdout=log, stderr=log
        )
        while process.poll() is None and working_seconds(directory) < math.floor(moment):
            time.sleep(0.05)
        time.sleep(moment % 1)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        return process.wait()


def has_network(directory: Path) -> bool:
    """Return whether ``darts.evaluate`` scores the network in a run directory."""
    words = [sys.executable, "-m", "darts.evaluate", f"checkpoint={directory}"]
    with directory.with_suffix(".log").open("a", encoding="utf-8") as log:
        return subprocess.run(words, check=False, stdout=log, stderr=log).returncode == 0


def outcome(directory: Path) -> JsonObject:
    """Return what must be equal in equal runs: the scores of all candidates, and the summary."""
    summary = read_json_object(directory / "summary.json")
    kept = {k: v for k, v in summary.items() if not any(part in k for part in MEASURED)}
    return kept | {"standings": decisions(directory)["standings"]}


def check(name: str, args: argparse.Namespace) -> Row:
    """Interrupt a run on a data set, and compare it with one that is not interrupted."""
    overrides = [
        *OVERRIDES[DATA_SETS[name].kind],
        f"dataset.root={(args.own / name).resolve()}",
        f"seed={args.seed}",
        "device=cpu",
        *PLAN,
    ]
    whole = args.out / f"{name}-{args.seed}-{WHOLE}"
    run("find", whole, *overrides)
    draw = random.Random(args.seed)
    length = working_seconds(whole)
    moments = sorted(draw.uniform(0, length) for _ in range(args.count))
    parts = args.out / f"{name}-{args.seed}-interrupted"
    stops = networks = before_first = 0
    for moment in moments:
        if interrupt(parts, overrides, moment) == 0:
            break
        stops += 1
        if (parts / "checkpoint.safetensors").exists():
            networks += has_network(parts)
        else:
            before_first += 1
    run("find", parts, *overrides)
    expected, found = outcome(whole), outcome(parts)
    differences = [key for key in expected if found.get(key) != expected[key]]
    return {
        "data": name,
        "kind": DATA_SETS[name].kind,
        "seed": args.seed,
        "seconds": round(length, 1),
        "moments": [round(moment, 2) for moment in moments],
        "interruptions": stops,
        "networks": networks,
        "before_first": before_first,
        "differences": differences,
        "command": command(),
        "hardware": hardware("cpu"),
    }


def write_table() -> None:
    """Write the table of all results."""
    lines = [
        [
            f"`{row['data']}`",
            row["kind"],
            f"{row['seconds']:.0f}",
            row["interruptions"],
            row["before_first"],
            row["networks"],
            ", ".join(row["differences"]) or "none",
        ]
        for row in record("interrupted_find", KEY, [])
    ]
    columns = (
        "data", "kind", "seconds", "interruptions", "before the first network", "networks scored",
        "differences at the end",
    )  # fmt: skip
    put_table("interrupted_find", table(columns, lines))


def main() -> None:
    """Check the data sets that are not in the results, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--own", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/interrupted_find"))
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10, help="interruptions of each run")
    args = parser.parse_args()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    done = {(row["data"], row["seed"]) for row in record("interrupted_find", KEY, [])}
    for name in args.only:
        if (name, args.seed) not in done:
            row = check(name, args)
            record("interrupted_find", KEY, [row])
            print(json.dumps(row), flush=True)
    write_table()


if __name__ == "__main__":
    main()
