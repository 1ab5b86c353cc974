"""What the benchmarks share: alternating timings, peak memory, and where results go."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from darts.training.device import peak_memory

HERE = Path(__file__).parent


def command() -> str:
    """How this process was started."""
    return " ".join(["python", f"experiments/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def hardware(device: str) -> str:
    """The card's name, or the processor and the number of threads in use."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads, {platform.machine()}"


def wait(device: str) -> None:
    """Until the device's queue is empty."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: str) -> float:
    """How long the work takes."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def alternate(
    ways: dict[str, Callable[[], object]], repeats: int, device: str
) -> dict[str, dict[str, float]]:
    """Run all ways in turn, again and again.

    Returns:
        For each way the median ``seconds``, and ``speedup``: the median over the rounds of the
        first way's time in the round over its own.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        seconds_of(way, device)  # warms up
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(seconds_of(way, device))
    base = next(iter(times.values()))
    return {
        name: {
            "seconds": statistics.median(own),
            "speedup": statistics.median(b / t for b, t in zip(base, own, strict=True)),
        }
        for name, own in times.items()
    }


def peak_megabytes(device: str) -> float:
    """Peak memory: of the allocator on a GPU, of the whole process on the CPU."""
    return peak_memory(torch.device(device)) / 2**20


def in_new_process(*arguments: str) -> Any:
    """Run the script again with other arguments, and read the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, sys.argv[0], *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def record(name: str, key: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put rows into results/``name``.json, in the place of those with the same key.

    Returns:
        All rows of the file.
    """
    path = HERE / "results" / f"{name}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    new = [tuple(row[k] for k in key) for row in rows]
    kept = [row for row in old if tuple(row[k] for k in key) not in new]
    every = [*kept, *rows]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")
    return every


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def put_table(name: str, text: str) -> None:
    """Print a table, and put it between the marks of that name in experiments/README.md."""
    print(text)
    path = HERE / "README.md"
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, rest = page.split(begin)
    path.write_text(f"{before}{begin}{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")
