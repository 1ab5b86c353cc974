"""Time of a search step as a function of channels, cells, batch size and image size.

    python experiments/bench_scaling.py

Changes one size of a base configuration at a time. ``edgewise`` and ``fast`` are the
implementations of bench_search_step.py, with the first-order gradient; they alternate in one
process. Medians are written to results/bench_scaling.json and README.md.
"""

from __future__ import annotations

import argparse

import torch
from bench_search_step import make_step
from benchmark import alternate
from records import Row, hardware, parser_of, put_rows, record

BASE = {"channels": 8, "cells": 5, "batch": 32, "size": 32}
CHANGES = {"channels": (4, 16, 32), "cells": (3, 8), "batch": (8, 64), "size": (16, 64)}
CASE = ("hardware", "precision", *BASE)
KEY = (*CASE, "implementation")


def main() -> None:
    """Measure each size and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    args = parser.parse_args()
    sizes = [BASE, *({**BASE, key: value} for key, values in CHANGES.items() for value in values)]
    rows: list[Row] = []
    for size in sizes:
        options = {**vars(args), **size, "memory": "full"}
        steps = {
            name: make_step(argparse.Namespace(**options), name, order=1)
            for name in ("edgewise", "fast")
        }
        for implementation, timing in alternate({**steps}, args.repeats, args.device).items():
            rows.append(
                {
                    "torch": torch.__version__,
                    "hardware": hardware(args.device),
                    "precision": args.precision,
                    **size,
                    "implementation": implementation,
                    "repeats": args.repeats,
                    **timing,
                }
            )
            print(f"{size}, {implementation}: {timing['seconds']:.3f} s", flush=True)
    all_rows = record("bench_scaling", KEY, rows)
    edgewise = {
        tuple(row[k] for k in CASE): row["seconds"]
        for row in all_rows
        if row["implementation"] == "edgewise"
    }
    lines = [
        {**row, "edgewise": edgewise[tuple(row[k] for k in CASE)]}
        for row in all_rows
        if row["implementation"] == "fast"
    ]
    columns = {name: f"{{{name}}}" for name in CASE}
    columns |= {"edgewise, s": "{edgewise:.3f}", "fast, s": "{seconds:.3f}"}
    put_rows("bench_scaling", {**columns, "speedup": "{speedup:.2f}"}, lines)


if __name__ == "__main__":
    main()
