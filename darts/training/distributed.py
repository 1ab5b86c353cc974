"""A run on several processes that ``torchrun`` starts, one rank each.

Every rank takes its share of each batch, batch norm takes the statistics of the whole batch
(``darts.ops.sync``), and gradients are summed, so that all ranks hold the same weights and a
run ends like one of a single process, but for rounding. Rank 0 alone writes and prints. In a single
process nothing here does anything.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from darts.ops.sync import synchronize
from darts.training.device import resolve_device

T = TypeVar("T")
Reduce = Callable[[Sequence[Tensor]], list[Tensor]]


def rank_and_size() -> tuple[int, int]:
    """This process's number and how many there are, from torchrun's environment; else 0 and 1."""
    size = int(os.environ.get("WORLD_SIZE", 1)) if "MASTER_ADDR" in os.environ else 1
    return (int(os.environ["RANK"]), size) if size > 1 else (0, 1)


class Ranks:
    """The processes of a run, as a context manager that connects them.

    Args:
        device: as configured. On several ranks "auto" is CUDA where there is a GPU, else the CPU,
            and "cuda" gives each rank the GPU of its number on its machine.

    Attributes:
        rank, size: this process's number and how many there are.
        local: this process's number on its machine.
        main: whether this is the process that writes and prints.
        device: where this process computes.
        reduce: sums each of several tensors over the ranks; None in a single process.

    Raises:
        ValueError: when ranks cannot share the device, or there are fewer GPUs than ranks.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.size = rank_and_size()
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0)) if self.size > 1 else 0
        self.main = self.rank == 0
        self.device = self._own(device) if self.size > 1 else resolve_device(device)
        self.reduce: Reduce | None = self.all_reduce if self.size > 1 else None
        self._left = ExitStack()
        self._prepared: list[nn.Module] = []

    def _own(self, name: str) -> torch.device:
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name not in ("cpu", "cuda"):
            raise ValueError(f"device={name!r} under torchrun; choose from auto, cpu, cuda")
        if resolve_device(name).type == "cpu":
            return torch.device("cpu")
        here = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        if here > torch.cuda.device_count():
            raise ValueError(
                f"{here} processes on a machine with {torch.cuda.device_count()} GPUs; "
                f"choose --nproc_per_node={torch.cuda.device_count()} or device=cpu"
            )
        return torch.device("cuda", self.local_rank)

    def __enter__(self) -> Ranks:
        if self.size == 1:
            return self
        # Its functions have the group that exists at its import as default, and would keep the
        # group's threads alive to the end of the interpreter, which then aborts now and then.
        import torch.distributed.nn.functional

        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)
        # Long, since rank 0 may download; torchrun itself ends the others when one rank dies.
        timeout = datetime.timedelta(hours=2)
        backend, own = ("nccl", self.device) if on_gpu else ("gloo", None)
        dist.init_process_group(backend, timeout=timeout, device_id=own)
        if not self.main:
            self._left.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", UserWarning)
            nowhere = self._left.enter_context(open(os.devnull, "w", encoding="utf-8"))
            self._left.enter_context(redirect_stdout(nowhere))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.close()
        # After an error other ranks may wait for this one, and taking leave of them would hang.
        if self.size > 1 and (kind is None or issubclass(kind, SystemExit)):
            # A network that held the group would keep its threads alive, and the interpreter must
            # not end before they have.
            for net in self._prepared:
                synchronize(net, None)
            dist.destroy_process_group()

    def prepare(self, net: nn.Module) -> None:
        """Give a network rank 0's weights, and batch statistics over all ranks, in place."""
        if self.size > 1:
            tensors = list(net.state_dict().values())
            with torch.no_grad():
                for own, first in zip(tensors, _flat(tensors, _from_first), strict=True):
                    own.copy_(first)
            synchronize(net, dist.group.WORLD)
            self._prepared.append(net)

    def align_generators(self) -> None:
        """After the random states of rank 0 were restored: those of its GPU go to this rank's."""
        if self.size > 1 and self.device.type == "cuda":
            torch.cuda.set_rng_state(torch.cuda.get_rng_state(0), self.device)

    def all_reduce(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sum over the ranks of each tensor, by one communication a type."""
        return _flat(tensors, dist.all_reduce)

    def loss_share(self, loss: Tensor, samples: int) -> Tensor:
        """This rank's part of a mean over the samples of all ranks: the parts' sum is that mean.

        Args:
            loss: mean over this rank's samples, a scalar.
            samples: how many they are.
        """
        if self.size == 1:
            return loss
        total = torch.tensor(samples, dtype=torch.float64, device=loss.device)
        dist.all_reduce(total)
        return loss * (samples / total).to(loss.dtype)

    def weighted_means(self, samples: int, *values: Tensor) -> tuple[int, list[Tensor]]:
        """The number of samples and the means over them, of all ranks, from those of each."""
        if self.size == 1:
            return samples, list(values)
        row = torch.stack([torch.ones_like(values[0]), *values]).double() * samples
        dist.all_reduce(row)
        return int(row[0]), list((row[1:] / row[0]).unbind())

    def all_reduce_max(self, value: int) -> int:
        """The largest of the ranks' numbers."""
        return int(self._agreed(value, dist.ReduceOp.MAX))

    def all_reduce_sum(self, value: float) -> float:
        """The sum of the ranks' numbers."""
        return float(self._agreed(value, dist.ReduceOp.SUM))

    def _agreed(self, value: float, operation: Any) -> float:
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, operation)
        return tensor.item()

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank; for texts and paths."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def local_main_first(self, work: Callable[[], T]) -> T:
        """Do some work on a machine's first rank, which may download, then on its others."""
        if self.size == 1:
            return work()
        if self.local_rank != 0:
            dist.barrier()
            return work()
        result = work()
        dist.barrier()
        return result


def distributed(task: Callable[..., T]) -> Callable[..., T]:
    """Make a command that takes the ranks as third argument one that finds them itself.

    The ranks are connected while it runs, and its run directory is rank 0's on all of them.
    """

    @functools.wraps(task)
    def command(config: Any, call: Any, **more: Any) -> T:
        with Ranks(config.device) as ranks:
            directory = Path(ranks.broadcast(str(call.directory)))
            try:
                return task(config, dataclasses.replace(call, directory=directory), ranks, **more)
            except SystemExit as leaving:
                # The traceback's frames hold the network and so the connections, which must be
                # closed before the interpreter ends.
                raise leaving.with_traceback(None) from None

    return command


def _from_first(tensor: Tensor) -> None:
    dist.broadcast(tensor, 0)


def _flat(tensors: Sequence[Tensor], act: Callable[[Tensor], Any]) -> list[Tensor]:
    """Copies of tensors after an action, in place, on all those of a type as one flat tensor."""
    results = [torch.empty_like(tensor) for tensor in tensors]
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        chosen = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
        flat = torch.cat([tensors[i].detach().reshape(-1) for i in chosen])
        act(flat)
        pieces = flat.split([tensors[i].numel() for i in chosen])
        for i, piece in zip(chosen, pieces, strict=True):
            results[i].detach().copy_(piece.view(results[i].shape))
    return results
