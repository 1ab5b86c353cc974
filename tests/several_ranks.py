"""Work done by several processes that are connected as the ranks of a run are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing


def on_ranks(work: Callable[..., Any], folder: Path, *arguments: Any, ranks: int = 2) -> list[Any]:
    """What ``work(*arguments)`` returns on each rank, connected by gloo.

    Args:
        work: a function at the top of a test module; its results must be tensors and plain values.
        folder: for the files by which the processes meet and hand over their results.
    """
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_rank, args=(work, rank, ranks, folder, arguments), daemon=True)
        for rank in range(ranks)
    ]
    try:
        for process in processes:
            process.start()
        until = time.monotonic() + 90
        for process in processes:
            process.join(max(until - time.monotonic(), 0))
        codes = [process.exitcode for process in processes]
        assert codes == [0] * ranks, codes
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(ranks)]


def _rank(work: Any, rank: int, ranks: int, folder: Path, arguments: Any) -> None:
    os.environ |= {"MASTER_ADDR": "here", "RANK": str(rank), "WORLD_SIZE": str(ranks)}
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
    torch.save(work(*arguments), folder / f"{rank}.pt")
    dist.destroy_process_group()
