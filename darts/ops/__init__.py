"""Fast kernels of the supernets.

Every function names the plain PyTorch computation that it replaces, falls back to it where the
faster implementation does not apply, and is tested against it.

=======================  =========================================================================
``dispatch``             ``KernelPlan``, ``plan_kernels``: the implementation for each device
``separable``            depthwise and pointwise convolution, batch norm and sum over edges
``depthwise``            depthwise convolution with a fast backward pass on CPUs
``pointwise``            pointwise convolution without a stored input
``fused_conv``           both convolutions as one dense convolution
``batch_norm``           batch norm that returns its statistics
``folded_norm``          batch norm of few channels
``sync_batch_norm``      batch norm over the ranks of a distributed run
``accumulator``          sum of normalized feature maps that stores none of them
``sums``                 weighted sums and group sums
``pool``                 3x3 average pooling
``pixels``               rearrangements of pixels
``recomputation``        activation checkpointing
=======================  =========================================================================
"""

from darts.ops.accumulator import SumAccumulator
from darts.ops.batch_norm import RunningStats, normalize, normalize_shared
from darts.ops.depthwise import depthwise_conv2d
from darts.ops.dispatch import KernelPlan, plan_kernels
from darts.ops.fused_conv import fused_separable_conv2d
from darts.ops.pixels import fold, split_even_odd
from darts.ops.pointwise import pointwise_conv2d
from darts.ops.pool import avg_pool3x3
from darts.ops.recomputation import recompute
from darts.ops.separable import separable_conv
from darts.ops.sums import dense_gradient, sum_groups, weighted_sum
from darts.ops.sync_batch_norm import SyncedBatchNorm2d, all_reduce_sum, convert_sync_batch_norm

__all__ = [
    "KernelPlan",
    "RunningStats",
    "SumAccumulator",
    "SyncedBatchNorm2d",
    "all_reduce_sum",
    "avg_pool3x3",
    "convert_sync_batch_norm",
    "dense_gradient",
    "depthwise_conv2d",
    "fold",
    "fused_separable_conv2d",
    "normalize",
    "normalize_shared",
    "plan_kernels",
    "pointwise_conv2d",
    "recompute",
    "separable_conv",
    "split_even_odd",
    "sum_groups",
    "weighted_sum",
]
