"""Run a function in several processes that are connected like the ranks of a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

TIMEOUT = 90  # seconds
# Imported once by the server process from which all ranks are forked.
PRELOADED = ["torch", "torchmetrics", "darts.search"]


def on_ranks(function: Callable[..., Any], folder: Path, *args: Any, ranks: int = 2) -> list[Any]:
    """Return the result of ``function(*args)`` on each rank, connected by gloo.

    The function is at the top level of a test module and returns tensors and plain values. The
    processes exchange their addresses and results in an empty folder.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    processes = [
        context.Process(target=_run, args=(function, rank, ranks, folder, args), daemon=True)
        for rank in range(ranks)
    ]
    try:
        for process in processes:
            process.start()
        deadline = time.monotonic() + TIMEOUT
        for process in processes:
            process.join(max(deadline - time.monotonic(), 0))
        exit_codes = [process.exitcode for process in processes]
        assert exit_codes == [0] * ranks, exit_codes
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(ranks)]


def _run(function: Callable[..., Any], rank: int, ranks: int, folder: Path, args: Any) -> None:
    os.environ |= {"MASTER_ADDR": "unused", "MASTER_PORT": "unused"}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
    method = f"file://{folder / 'rendezvous'}"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=ranks)
    torch.save(function(*args), folder / f"{rank}.pt")
    dist.destroy_process_group()
