"""Several inverted residual blocks of the same input, computed together with fewer kernels.

Their first pointwise convolutions are one convolution. Depthwise convolutions with the same kernel
size are one, and so are last pointwise convolutions with the same number of inputs. Each batch norm
normalizes the channels of several blocks. The weights still belong to the blocks, so state dicts do
not depend on how the blocks are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from darts.ops.autograd import Context, OneOutput
from darts.ops.batch_norm import values_per_channel
from darts.ops.grouped_conv import depthwise_conv2d
from darts.ops.pointwise import pointwise_conv2d
from darts.spaces.macro.skeleton import InvertedResidual

_NHWC = torch.channels_last


class _Block(NamedTuple):
    expand: nn.Conv2d
    norm1: nn.BatchNorm2d
    activation: nn.Module
    depthwise: nn.Conv2d
    norm2: nn.BatchNorm2d
    activation2: nn.Module
    project: nn.Conv2d
    norm3: nn.BatchNorm2d


class _Statistics:
    """The statistics of the norms of a forward pass, and the running statistics that they update.

    The norms of all blocks have the same ``eps`` and ``momentum``.
    """

    def __init__(self) -> None:
        self.norms: list[nn.BatchNorm2d] = []
        self.means: list[Tensor] = []
        self.inverses: list[Tensor] = []  # inverse standard deviations
        self.factors: list[float] = []  # from biased to unbiased variances

    def normalize(
        self, x: Tensor, norms: Sequence[nn.BatchNorm2d], scale: Tensor | None = None
    ) -> Tensor:
        """Normalize ``(B, C, H, W)``, whose channels belong to several norms."""
        count = values_per_channel(x)
        output, mean, inverse = torch.native_batch_norm(
            x, scale, None, None, None, True, 0.0, norms[0].eps
        )
        sizes = [norm.num_features for norm in norms]
        self.norms.extend(norms)
        self.means.extend(torch.split(mean.detach(), sizes))
        self.inverses.extend(torch.split(inverse.detach(), sizes))
        self.factors.extend([count / (count - 1)] * len(norms))
        return output

    @torch.no_grad()
    def update_running(self) -> None:
        """Update the running statistics, if the norms have any."""
        first = self.norms[0]
        if first.running_mean is None:  # as in an architecture step
            return
        momentum = cast(float, first.momentum)
        variances = torch._foreach_pow(self.inverses, -2)
        torch._foreach_sub_(variances, first.eps)
        torch._foreach_mul_(variances, self.factors)
        torch._foreach_lerp_(
            [cast(Tensor, n.running_mean) for n in self.norms], self.means, momentum
        )
        running = [cast(Tensor, norm.running_var) for norm in self.norms]
        torch._foreach_lerp_(running, variances, momentum)
        torch._foreach_add_([cast(Tensor, norm.num_batches_tracked) for norm in self.norms], 1)


def can_run_together(blocks: Sequence[InvertedResidual], x: Tensor) -> bool:
    """Return whether ``run_together`` supports these blocks in their current state.

    It needs at least two blocks in training that use the statistics of their own batch.
    """
    if len(blocks) < 2 or torch.is_autocast_enabled(x.device.type):
        return False
    norm = blocks[0].layers[1]
    return norm.training and type(norm) is nn.BatchNorm2d and not norm.affine


def run_together(
    blocks: Sequence[InvertedResidual], x: Tensor, weights: Sequence[Tensor]
) -> Tensor:
    """Return the weighted sum of the blocks without the inputs that they add.

    The blocks have the same input and output shape, and ``can_run_together`` holds.
    """
    layers = [_Block(*block.layers) for block in blocks]
    activation = layers[0].activation
    by_kernel = _grouped(layers, lambda block: block.depthwise.kernel_size[0])
    by_width = _grouped(layers, lambda block: block.norm2.num_features)
    statistics = _Statistics()

    order = [index for group in by_kernel for index in group]
    x = nn.functional.conv2d(x, torch.cat([layers[index].expand.weight for index in order]))
    x = activation(statistics.normalize(x, [layers[index].norm1 for index in order]))
    widths = [sum(layers[index].norm1.num_features for index in group) for group in by_kernel]
    hidden: dict[int, Tensor] = {}
    for group, part in zip(by_kernel, torch.split(x, widths, dim=1), strict=True):
        own = [layers[index].depthwise for index in group]
        kernel = torch.cat([depthwise.weight for depthwise in own])
        y = depthwise_conv2d(part.contiguous(memory_format=_NHWC), kernel, own[0].stride[0])
        hidden.update(zip(group, torch.split(y, [len(d.weight) for d in own], dim=1), strict=True))

    outputs = layers[0].project.out_channels
    order = [index for group in by_width for index in group]
    scales = torch.stack([weights[index] for index in order])[:, None].expand(-1, outputs)
    parts = torch.split(scales.reshape(-1), [outputs * len(group) for group in by_width])
    totals: list[Tensor] = []
    for group, scale in zip(by_width, parts, strict=True):
        y = torch.cat([hidden[index] for index in group], dim=1)
        y = activation(statistics.normalize(y, [layers[index].norm2 for index in group]))
        weight = torch.cat([layers[index].project.weight for index in group])
        y = pointwise_conv2d(y, weight, groups=len(group))
        y = statistics.normalize(y, [layers[index].norm3 for index in group], scale)
        totals.append(_SumParts.apply(y, len(group)))
    statistics.update_running()
    return reduce(torch.add, totals)


def _grouped(layers: Sequence[_Block], key: Callable[[_Block], int]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for index, block in enumerate(layers):
        groups.setdefault(key(block), []).append(index)
    return [groups[value] for value in sorted(groups)]


class _SumParts(OneOutput):
    """The sum of equal parts of the channels, whose gradient is contiguous.

    The gradient of ``sum`` has stride 0, and operations that receive such gradients are slow.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, count: int) -> Tensor:
        ctx.count = count
        pixels = x.permute(0, 2, 3, 1)  # contiguous in channels_last layout
        return torch.unflatten(pixels, 3, (count, -1)).sum(3).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None]:
        return torch.cat([gradients[0]] * ctx.count, dim=1), None
