"""Batch norm of ``MixedCell``: one set of running statistics for all states and all steps.

Each state of each step is normalized with its own batch statistics. As published, all of them
contribute to the same running statistics. These are updated once per sequence, which gives the same
values as one update per state and step.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import normalize_shared, values_per_channel


class SequenceNorm:
    """Normalizes the states of one sequence.

    Args:
        norm: Batch norm without affine parameters; holds the running statistics.
        training: Whether to use batch statistics instead of running statistics.
        group: Process group of the ranks that share a batch; None for one process.
    """

    def __init__(
        self, norm: nn.BatchNorm2d, training: bool, group: dist.ProcessGroup | None = None
    ) -> None:
        self.norm, self.training, self.group = norm, training, group
        self._means: list[Tensor] = []
        # Unbiased variances if ranks share the batch, inverse standard deviations otherwise.
        self._spreads: list[Tensor] = []
        self._batch_size = 2

    def __call__(self, x: Tensor) -> Tensor:
        """Normalize ``(B, H)``."""
        norm = self.norm
        if not self.training:
            return F.batch_norm(x, norm.running_mean, norm.running_var, eps=norm.eps)
        if self.group is not None:
            shared = normalize_shared(x[:, :, None, None], norm.eps, self.group)
            output, mean, spread = shared.output[:, :, 0, 0], shared.mean, shared.variance
        else:
            self._batch_size = values_per_channel(x)
            output, mean, spread = torch.native_batch_norm(
                x, None, None, None, None, True, 0.0, norm.eps
            )
        self._means.append(mean)
        self._spreads.append(spread)
        return output

    @torch.no_grad()
    def update_running_stats(self) -> None:
        """Update the exponential moving averages for all calls at once, by one weighted sum.

        During an architecture step, the norm has no running statistics.
        """
        norm = self.norm
        if not self._means or norm.running_mean is None:
            return
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        mean, variance = torch.stack(self._means), torch.stack(self._spreads)  # (count, H)
        count = len(mean)
        if self.group is None:  # from inverse standard deviations to unbiased variances
            biased = variance.double().pow(-2) - norm.eps
            variance = biased * (self._batch_size / (self._batch_size - 1))
        exponents = torch.arange(count, -1, -1, dtype=torch.float64, device=mean.device)
        decay = (1.0 - norm.momentum) ** exponents
        for running, values in ((norm.running_mean, mean), (norm.running_var, variance)):
            update = (norm.momentum * decay[1:]) @ values.double()
            running.copy_(decay[0] * running + update)
        norm.num_batches_tracked.add_(count)
