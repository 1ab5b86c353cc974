"""The module ``nn.BatchNorm2d`` with the statistics of the batches of all ranks.

``torch.nn.SyncBatchNorm`` supports GPUs only. It also cannot be differentiated twice, which the
exact second-order gradient of the alphas needs.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from darts.ops.batch_norm import RunningStats, full_precision, normalize_shared


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` with the statistics of the batches of all ranks.

    Ranks may hold different numbers of samples, at least one each. Under autocast the statistics
    are computed in float32. In evaluation mode, and without a process group, the module behaves
    like ``nn.BatchNorm2d``.
    """

    process_group: dist.ProcessGroup | None = None  # ranks that share a batch

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.process_group is None:
            return super().forward(input)
        self._check_input_dim(input)
        x = full_precision(input)
        output, mean, variance = normalize_shared(x, self.eps, self.process_group, self.weight)
        self._update_running(mean, variance)
        if self.bias is not None:
            output = output + self.bias.view(1, -1, 1, 1)
        return output.to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # then they are the plain mean over all batches
            momentum = 1.0 / float(self.num_batches_tracked or 1)
        RunningStats(self.running_mean, self.running_var, momentum).update(mean, variance)


def convert_sync_batch_norm(net: nn.Module, group: dist.ProcessGroup | None) -> nn.Module:
    """Make a network compute its batch statistics over all ranks of a group, in place.

    Every ``nn.BatchNorm2d`` becomes a ``SyncedBatchNorm2d`` with the same parameters, buffers and
    names. Any other submodule with an attribute ``process_group`` gets the group and must use it as
    in ``normalize``. The converted network cannot be deep-copied.
    """
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            # Changing only the class keeps parameters, buffers, hooks and references to the module.
            module.__class__ = SyncedBatchNorm2d
        if hasattr(module, "process_group"):
            module.process_group = group  # type: ignore[assignment]
    return net
