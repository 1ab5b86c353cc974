"""Time of a search step on two ranks with twice the batch, compared with one process.

    python experiments/bench_ranks.py

Two processes with one thread each, connected by gloo, run the first-order step of a small search
network of the space ``cnn``. Four cases alternate:

* ``alone``: one process runs a batch of size B, the other one waits. This is the reference.
* ``unconnected``: both run a batch of size B and do not communicate, which shows how much two
  processes slow each other down.
* ``own statistics``: two ranks share a batch of size 2B with ``sync_batchnorm=false``.
* ``shared statistics``: the same with ``sync_batchnorm=true``.

Without any costs of communication, all cases would take equally long. Use an idle machine with two
processor cores. Medians are written to results/bench_ranks.json and README.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.distributed as dist
from records import Row, parser_of, put_rows, record
from torch import Tensor

from darts.config import SearchConfig, compose
from darts.judging.devices.stopwatch import device_name
from darts.searching.searcher import Searcher
from darts.tasks.task import ObjectiveSpec
from darts.training.distributed import Ranks

CASES = ("alone", "unconnected", "own statistics", "shared statistics")
SIZES = ("channels", "cells", "batch", "size")
KEY = ("hardware", *SIZES, "case")


class Step:
    """A search step of one case on one rank.

    Args:
        case: One of ``CASES``.
        ranks: The connected ranks.
        args: Sizes of network and batch.
    """

    def __init__(self, case: str, ranks: Ranks, args: argparse.Namespace) -> None:
        self.case, self.ranks = case, ranks
        overrides = ["dataset=synthetic", "device=cpu", "method=darts_v1"]
        overrides += [f"space.channels={args.channels}", f"space.cells={args.cells}"]
        overrides.append(f"sync_batchnorm={case == 'shared statistics'}")
        config: SearchConfig = compose("search", overrides)
        if case in ("alone", "unconnected"):
            ranks = copy.copy(ranks)
            ranks.size = 1
        objective = config.task.make_objective(
            ObjectiveSpec(tuple(str(label) for label in range(10)))
        )
        self.searcher = Searcher(config, objective, ranks, {"classes": 10, "in_channels": 3})
        self.searcher.begin_epoch(0)
        generator = torch.Generator().manual_seed(self.ranks.rank)

        def batch() -> tuple[Tensor, Tensor]:
            images = torch.randn(args.batch, 3, args.size, args.size, generator=generator)
            labels = torch.randint(10, (args.batch,), generator=generator)
            return images.contiguous(memory_format=torch.channels_last), labels

        self.batches = batch(), batch()

    def seconds(self) -> float:
        """Return the time of one step until all ranks have finished it."""
        dist.barrier()
        start = time.perf_counter()
        if self.ranks.main or self.case != "alone":
            self.searcher.search_step(*self.batches, update_alphas=True)
        dist.barrier()
        return time.perf_counter() - start


def measure_on_rank(args: argparse.Namespace) -> None:
    """Measure all cases; the first rank prints the seconds of all rounds by case as JSON."""
    torch.set_num_threads(1)
    out = sys.stdout  # entering the ranks closes the output of the second one
    with Ranks("cpu") as ranks:
        steps = [Step(case, ranks, args) for case in CASES]
        for step in steps:
            step.seconds()  # warm-up
        times = {case: [0.0] * args.repeats for case in CASES}
        for number in range(args.repeats):
            for step in steps:
                times[step.case][number] = step.seconds()
        if ranks.main:
            print(json.dumps(times), file=out)


def main() -> None:
    """Start both ranks and write their results."""
    parser = parser_of(__doc__)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32, help="samples of each rank, B")
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--dry-run", action="store_true", help="print the results only")
    args = parser.parse_args()
    if "RANK" in os.environ:
        measure_on_rank(args)
        return
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, *launcher, __file__, *sys.argv[1:]]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    times: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    rows: list[Row] = [
        {
            "torch": torch.__version__,
            "hardware": device_name(torch.device("cpu")),
            **{name: getattr(args, name) for name in SIZES},
            "case": case,
            "repeats": args.repeats,
            "seconds": statistics.median(own),
            "ratio": statistics.median(t / b for t, b in zip(own, times["alone"], strict=True)),
        }
        for case, own in times.items()
    ]
    columns = {name: f"{{{name}}}" for name in KEY}
    columns |= {"s per step": "{seconds:.3f}", "compared with alone": "{ratio:.2f}"}
    if args.dry_run:
        print(*rows, sep="\n")
    else:
        put_rows("bench_ranks", columns, record("bench_ranks", KEY, rows))


if __name__ == "__main__":
    main()
