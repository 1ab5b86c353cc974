"""How the cost of a search step grows with channels, cells, batch and image size.

    python experiments/bench_scaling.py

From one base, one size at a time is changed. ``edgewise`` and ``fast`` are those of
bench_search_step.py, first order, and alternate in one process. Rows go to
results/bench_scaling.json and into the table of README.md.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from bench_search_step import make_step
from benchmark import alternate, command, hardware, put_table, record, table

BASE = {"channels": 8, "cells": 5, "batch": 32, "size": 32}
OTHERS = {"channels": (4, 16, 32), "cells": (3, 8), "batch": (8, 64), "size": (16, 64)}
KEY = ("hardware", "precision", *BASE, "way")


def main() -> None:
    """Measure each size, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    arguments = parser.parse_args()
    sizes = [BASE, *({**BASE, key: value} for key, values in OTHERS.items() for value in values)]
    rows: list[dict[str, Any]] = []
    for size in sizes:
        given = {**vars(arguments), **size, "compile": False, "memory": "full"}
        ways = {way: make_step(argparse.Namespace(**given), way, 1) for way in ("edgewise", "fast")}
        for way, timed in alternate({**ways}, arguments.repeats, arguments.device).items():
            rows.append(
                {
                    "command": command(),
                    "torch": torch.__version__,
                    "hardware": hardware(arguments.device),
                    "precision": arguments.precision,
                    **size,
                    "way": way,
                    "repeats": arguments.repeats,
                    **timed,
                }
            )
            print(f"{size}, {way}: {timed['seconds']:.3f} s", flush=True)
    columns = (*KEY[:-1], "edgewise, s", "fast, s", "times faster")
    every = record("bench_scaling", KEY, rows)
    slow = {tuple(row[k] for k in KEY[:-1]): row for row in every if row["way"] == "edgewise"}
    lines = []
    for row in (row for row in every if row["way"] == "fast"):
        place = tuple(row[k] for k in KEY[:-1])
        seconds = slow[place]["seconds"]
        lines.append((*place, f"{seconds:.3f}", f"{row['seconds']:.3f}", f"{row['speedup']:.2f}"))
    put_table("bench_scaling", table(columns, lines))


if __name__ == "__main__":
    main()
