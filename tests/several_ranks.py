"""Run a function in several processes that are connected like the ranks of a run."""

from __future__ import annotations

import os
import socket
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


def on_ranks(
    function: Callable[..., Any], folder: Path, *args: Any, ranks: int = 2, connected: bool = True
) -> list[Any]:
    """Return the result of ``function(*args)`` on each rank, connected by gloo.

    Args:
        function: A function at the top level of a test module. It returns tensors and plain
            values.
        folder: An empty folder. The processes exchange their addresses and results in it.
        args: Arguments of the function.
        ranks: The number of processes.
        connected: Whether the processes are connected before the function is called. If not, their
            environment is that of ``torchrun``, and the function connects them.
    """
    address = None if connected else ("localhost", str(free_port()))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    processes = [
        context.Process(
            target=_run, args=(function, rank, ranks, folder, args, address), daemon=True
        )
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


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        return int(unused.getsockname()[1])


def _run(
    function: Callable[..., Any],
    rank: int,
    ranks: int,
    folder: Path,
    args: Any,
    address: tuple[str, str] | None,
) -> None:
    host, port = address or ("unused", "unused")
    os.environ |= {"MASTER_ADDR": host, "MASTER_PORT": port}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
    if address is None:
        method = f"file://{folder / 'rendezvous'}"
        dist.init_process_group("gloo", init_method=method, rank=rank, world_size=ranks)
    torch.save(function(*args), folder / f"{rank}.pt")
    if address is None:
        dist.destroy_process_group()
