"""Time of a search step on an idle machine and next to another busy process.

    python experiments/bench_busy_cpu.py

Compares the default of OpenMP, whose threads wait in a busy loop, with OMP_WAIT_POLICY=PASSIVE.
Each case runs in a process of its own: 16 channels, 8 cells, batch size 64, first order. Medians
are written to results/bench_busy_cpu.json and README.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from bench_search_step import make_step
from records import Row, parser_of, put_rows, record

SIZES = {"channels": 16, "cells": 8, "batch": 64, "size": 32}
KEY = ("hardware", "busy processes", "policy")


def seconds_per_step(repeats: int) -> float:
    """Return the median time of a step, after a first one."""
    options = argparse.Namespace(**SIZES, device="cpu", precision="fp32", memory="full")
    step = make_step(options, "fast", order=1)
    step()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure(policy: str, busy: int, repeats: int) -> float:
    """Return the seconds per step in a new process, next to a number of busy processes."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    if policy == "passive":
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        child = [sys.executable, __file__, "--child", "--repeats", str(repeats)]
        done = subprocess.run(child, env=environment, capture_output=True, text=True, check=True)
    finally:
        for other in others:
            other.kill()
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure all cases and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(seconds_per_step(args.repeats))
        return
    rows: list[Row] = []
    for busy in (0, 1):
        for policy in ("default", "passive"):
            seconds = measure(policy, busy, args.repeats)
            print(f"{busy} busy processes, {policy}: {seconds:.1f} s")
            rows.append({"busy processes": busy, "policy": policy, "s per step": round(seconds, 2)})
    columns = {name: f"{{{name}}}" for name in (*KEY, "s per step")}
    put_rows("bench_busy_cpu", columns, record("bench_busy_cpu", KEY, rows))


if __name__ == "__main__":
    main()
