"""Runs on several processes that ``torchrun`` starts: one rank per process.

Each rank processes its share of every batch, batch norm uses the statistics of the whole batch
(``darts.ops.sync_batch_norm``), and gradients are summed over the ranks. All ranks therefore hold
the same weights, and a run computes the same as one process, up to rounding. Only rank 0 writes
and prints. In a single process nothing is communicated, and the methods return their input.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from darts.config import ConfigError, EvaluateConfig, Invocation, RunConfig
from darts.ops.sync_batch_norm import convert_sync_batch_norm
from darts.process import rank_and_size
from darts.training.device import resolve_device

T = TypeVar("T")
Config = TypeVar("Config", bound=RunConfig | EvaluateConfig)


class Ranks:
    """The processes of a run; entering the context connects them.

    On several ranks, the device ``auto`` selects CUDA if there is a GPU, else the CPU; ``cuda``
    assigns each rank the GPU with its local number, or the only GPU that the rank sees.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.size = rank_and_size()
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0)) if self.size > 1 else 0
        self.main = self.rank == 0  # writes and prints
        self.device = self._rank_device(device) if self.size > 1 else resolve_device(device)
        self._exit_stack = ExitStack()
        self._prepared: list[nn.Module] = []
        # In the order of preparation, which is the same on all ranks.
        self._unsynchronized = weakref.WeakKeyDictionary[nn.Module, None]()

    def _rank_device(self, name: str) -> torch.device:
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name not in ("cpu", "cuda"):
            raise ConfigError(f"device={name!r}: under torchrun choose from auto, cpu, cuda")
        if resolve_device(name).type == "cpu":
            return torch.device("cpu")
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        gpus = torch.cuda.device_count()
        if gpus == 1:  # CUDA_VISIBLE_DEVICES may show each rank another GPU
            return torch.device("cuda", 0)
        if processes > gpus:
            raise ConfigError(
                f"{processes} processes on a machine with {gpus} GPUs; choose "
                f"--nproc_per_node={gpus} or device=cpu"
            )
        return torch.device("cuda", self.local_rank)

    def __enter__(self) -> Ranks:
        if self.size == 1:
            return self
        # Import this before the process group exists. Its functions bind the group that exists at
        # import as a default argument; this would keep the threads of the group alive until the
        # interpreter exits, which then sometimes aborts.
        import torch.distributed.nn.functional

        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            # Long, because the others wait while rank 0 downloads. If a rank dies, torchrun ends
            # all.
            timeout=datetime.timedelta(hours=2),
            device_id=self.device if on_gpu else None,
        )
        if not self.main:
            self._exit_stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", UserWarning)
            devnull = self._exit_stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            self._exit_stack.enter_context(redirect_stdout(devnull))
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._exit_stack.close()
        # After an error, other ranks may be waiting for this one; destroying the group would hang.
        if self.size > 1 and (kind is None or issubclass(kind, SystemExit)):
            # A network that holds the group keeps the threads of the group alive, and these must
            # end before the interpreter exits.
            for net in self._prepared:
                convert_sync_batch_norm(net, None)
            dist.destroy_process_group()

    def prepare(self, net: nn.Module, *, sync_batchnorm: bool) -> None:
        """Copy the parameters and buffers of rank 0, in place.

        With ``sync_batchnorm``, batch norms use the statistics of the batches of all ranks.
        Otherwise they use the statistics of the rank's own samples, and their running statistics
        differ until ``average_statistics``.
        """
        self.share(net)
        if self.size > 1:
            if sync_batchnorm:
                convert_sync_batch_norm(net, dist.group.WORLD)
                self._prepared.append(net)
            else:
                self._unsynchronized[net] = None

    @torch.no_grad()
    def share(self, net: nn.Module) -> None:
        """Copy the parameters and buffers of rank 0, in place."""
        if self.size > 1:
            tensors = list(net.state_dict().values())
            copies = _flatten_apply(tensors, lambda tensor: dist.broadcast(tensor, 0))
            for tensor, main in zip(tensors, copies, strict=True):
                tensor.copy_(main)

    @torch.no_grad()
    def average_statistics(self) -> None:
        """Replace running statistics that differ between ranks by their means over the ranks."""
        for net in list(self._unsynchronized):
            names = ("running_mean", "running_var")
            buffers = [b for n, b in net.named_buffers() if n.rpartition(".")[2] in names]
            for buffer, total in zip(buffers, self.all_reduce(buffers), strict=True):
                buffer.copy_(total / self.size)

    def align_generators(self) -> None:
        """Copy the restored random state of GPU 0 to the GPU of this rank."""
        if self.size > 1 and self.device.type == "cuda":
            torch.cuda.set_rng_state(torch.cuda.get_rng_state(0), self.device)

    def all_reduce(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the sum of each tensor over the ranks; communicate once per dtype."""
        if self.size == 1:
            return tensors
        return _flatten_apply(tensors, dist.all_reduce)

    def loss_share(self, loss: Tensor, num_samples: int) -> Tensor:
        """Return this rank's share of the mean loss over the samples of all ranks.

        ``loss`` is the mean over this rank's samples. The sum of the shares is the mean over all.
        """
        if self.size == 1:
            return loss
        # Not torch.tensor, which waits for a GPU.
        total = torch.full((), num_samples, dtype=torch.float64, device=loss.device)
        dist.all_reduce(total)
        return loss * (num_samples / total).to(loss.dtype)

    def weighted_means(self, num_samples: int, *means: Tensor) -> Tensor:
        """Return the number of samples of all ranks, and the means over these samples.

        ``means`` are scalars over this rank's samples. The result is ``(1 + len(means),)`` in
        float64, on MPS in float32.
        """
        row = torch.stack(means)
        row = row.to(torch.float32 if row.device.type == "mps" else torch.float64)
        # Not torch.tensor(num_samples), which waits for a GPU.
        row = torch.cat([torch.full_like(row[:1], num_samples), row])
        if self.size > 1:
            row[1:] *= num_samples
            dist.all_reduce(row)
            row[1:] /= row[:1].clone()
        return row

    def all_reduce_max(self, value: float) -> float:
        """Return the largest value over the ranks."""
        return self._all_reduce_scalar(value, dist.ReduceOp.MAX)

    def all_reduce_sum(self, value: float) -> float:
        """Return the sum of the values of the ranks."""
        return float(self._all_reduce_scalar(value, dist.ReduceOp.SUM))

    def _all_reduce_scalar(self, value: float, operation: dist.ReduceOp.RedOpType) -> float:
        if self.size == 1:
            return value
        tensor = torch.full((), value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, operation)
        return float(tensor)

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on every rank; the value is any object that can be pickled."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def local_main_first(self, work: Callable[[], T]) -> T:
        """Call ``work`` on the first rank of each machine, then on the others."""
        if self.size == 1:
            return work()
        if self.local_rank != 0:
            dist.barrier()
            return work()
        result = work()
        dist.barrier()
        return result


def distributed(
    function: Callable[[Config, Invocation, Ranks], T],
) -> Callable[[Config, Invocation], T]:
    """Decorate a command so that its ranks are connected and become its third argument.

    All ranks receive the run directory of rank 0.
    """

    @functools.wraps(function)
    def command(config: Config, invocation: Invocation) -> T:
        with Ranks(config.device) as ranks:
            directory = Path(ranks.broadcast(str(invocation.directory)))
            own = dataclasses.replace(invocation, directory=directory)
            try:
                return function(config, own, ranks)
            except SystemExit as error:
                # The frames of the traceback hold the network, and the network holds the
                # connections, which must close before the interpreter exits.
                raise error.with_traceback(None) from None

    return command


def _flatten_apply(
    tensors: Sequence[Tensor], communicate: Callable[[Tensor], object]
) -> list[Tensor]:
    """Return copies of the tensors after a collective operation.

    ``communicate`` is called once per dtype. It changes one flat copy of all tensors of that dtype.
    """
    results = [torch.empty_like(tensor) for tensor in tensors]
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        chosen = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
        flat = torch.cat([tensors[i].detach().reshape(-1) for i in chosen])
        communicate(flat)
        pieces = torch.split(flat, [tensors[i].numel() for i in chosen])
        for i, piece in zip(chosen, pieces, strict=True):
            results[i].detach().copy_(piece.view(results[i].shape))
    return results
