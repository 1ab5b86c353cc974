"""Memory, open files and threads of one process that runs many tiny searches, or a long one.

    python experiments/soak.py

Runs 200 searches of two epochs in one process, then one search of 400 epochs in a new process, and
prints what grows per run or epoch. A leak of a megabyte per run would show after a few runs. The
growth is measured after the first tenth, in which caches fill. Nothing is written but run
directories in a temporary folder, which are removed.
"""

from __future__ import annotations

import contextlib
import gc
import io
import multiprocessing
import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from records import hardware, parser_of, table

from darts.config import launch
from darts.recipes.search import Search, check, search

TINY = (
    *("dataset=synthetic", "dataset.samples=24", "dataset.size=8", "loader.batch_size=4"),
    *("space=mlp", "tracking.figures=false"),
)


@dataclass(frozen=True)
class Use:
    """What a process uses at a moment."""

    memory: int  # bytes in RAM
    files: int  # open files
    threads: int

    @classmethod
    def now(cls) -> Use:
        """Return what this process uses; Linux only."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        files = len(os.listdir("/proc/self/fd"))
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), files, threading.active_count())


def growth(uses: list[Use]) -> str:
    """Return memory, files and threads at the end, and their growth after the first tenth."""
    first, last = uses[len(uses) // 10], uses[-1]
    count = len(uses) - 1 - len(uses) // 10
    kib = (last.memory - first.memory) / 1024 / count
    return (
        f"{last.memory / 2**20:.0f} MiB, {kib:+.2f} KiB each; "
        f"{last.files} open files, {last.files - first.files:+d}; "
        f"{last.threads} threads, {last.threads - first.threads:+d}"
    )


def many_runs(runs: int) -> str:
    """Run searches one after the other; return the growth per search."""
    uses = []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(runs):
            arguments = [*TINY, "epochs=2", f"hydra.run.dir={folder}/{index}"]
            with contextlib.redirect_stdout(io.StringIO()):
                launch("search", check, search, arguments)
            uses.append(Use.now())
    return growth(uses)


def one_run(epochs: int) -> str:
    """Run one search; return the growth per epoch."""
    uses: list[Use] = []
    write_epoch = Search.write_epoch

    def measured(recipe: Search, epoch: int) -> None:
        write_epoch(recipe, epoch)
        uses.append(Use.now())

    with tempfile.TemporaryDirectory() as folder, patch.object(Search, "write_epoch", measured):
        arguments = [*TINY, f"epochs={epochs}", f"hydra.run.dir={folder}/run"]
        with contextlib.redirect_stdout(io.StringIO()):
            launch("search", check, search, arguments)
    return growth(uses)


def main() -> None:
    """Measure both and print a table."""
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=400)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for title, function, count in (
        (f"{args.runs} searches", many_runs, args.runs),
        (f"a search of {args.epochs} epochs", one_run, args.epochs),
    ):
        # A new process for each, so that the second does not inherit memory of the first.
        with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (1,)) as pool:
            rows.append((title, pool.apply(function, (count,))))
    print(hardware("cpu"))
    print(table(("work", "at the end, and growth"), rows))


if __name__ == "__main__":
    main()
