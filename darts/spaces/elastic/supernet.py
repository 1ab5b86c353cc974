"""Supernet of the ``elastic`` space: one large network, whose slices are all other networks.

A narrow stage or block has the first channels of the widest one. A small kernel is a linear map of
the center of the largest one. Only the slice that contains all active candidates is computed. If
several are active, their kernels are mixed to one kernel, and channels that some of them lack get
smaller factors. A step with all candidates therefore costs as much as one of the largest network,
and a step with one network costs as much as this network.

References:
    Yu et al., "Slimmable Neural Networks", arXiv:1812.08928: narrow layers as slices.
    Cai et al., "Once-for-All", arXiv:1908.09791, section 3.2 and figure 4: small kernels as linear
    maps of the center of large ones; skipped blocks.
    Stamoulis et al., "Single-Path NAS", arXiv:1904.02877: mixed kernels in one convolution.
    Wan et al., "FBNetV2", arXiv:2004.05565, section 3.2: mixed widths by factors of channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.batch_norm import RunningStats, normalize
from darts.spaces.elastic.genotype import STAGES
from darts.spaces.elastic.network import halved, make_stem, plan_blocks, width_of
from darts.spaces.supernet import SupernetBase

if TYPE_CHECKING:
    from darts.spaces.elastic.space import Elastic


class SliceNorm2d(nn.BatchNorm2d):
    """Batch norm of the first channels, with factors for weights and biases.

    Shape: ``(B, C, H, W)`` with at most ``num_features`` channels, factors ``(C,)`` -> the same.
    """

    process_group: dist.ProcessGroup | None = None  # ranks that share a batch

    def forward(self, input: Tensor, factors: Tensor | None = None) -> Tensor:
        rows = slice(input.shape[1])
        weight, bias = self.weight[rows], self.bias[rows]
        if factors is not None:
            weight, bias = weight * factors, bias * factors
        mean, variance = self.running_mean, self.running_var
        if mean is not None and variance is not None:
            mean, variance = mean[rows], variance[rows]
        momentum = cast(float, self.momentum)
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if not self.training or self.process_group is None:
            train = self.training or mean is None
            return F.batch_norm(input, mean, variance, weight, bias, train, momentum, self.eps)
        running = None
        if mean is not None and variance is not None:
            running = RunningStats(mean, variance, momentum)
        output = normalize(input, weight, self.eps, running, self.process_group)
        return output + bias.view(1, -1, 1, 1).to(output.dtype)


def prefix_masks(sizes: Sequence[int]) -> Tensor:
    """Return masks of the first channels, ``(sizes, max(sizes))``."""
    return (torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]).float()


class MixedBlock(nn.Module):
    """All candidates of one block.

    Args:
        inputs: Width of the input of the largest network.
        outputs: Candidate widths of the output, if the block begins a stage; otherwise only the
            largest one.
        kernels: Candidate kernel sizes.
        hidden: Candidate numbers of channels inside the block.
        adds: Whether the block adds its input. Then it can be skipped.
    """

    def __init__(
        self,
        inputs: int,
        outputs: Sequence[int],
        *,
        kernels: Sequence[int],
        hidden: Sequence[int],
        adds: bool,
    ) -> None:
        super().__init__()
        self.outputs, self.kernels = tuple(outputs), tuple(kernels)
        self.hidden, self.adds = tuple(hidden), adds
        self.convs = len(outputs) * len(kernels) * len(hidden)  # columns except the skip connection
        widest, largest = max(hidden), max(kernels)
        self.conv = nn.Conv2d(inputs, widest, largest, bias=False)
        self.norm = SliceNorm2d(widest)
        self.project = nn.Conv2d(widest, max(outputs), 1, bias=False)
        self.project_norm = SliceNorm2d(max(outputs))
        # The map of each smaller kernel, from the center of the largest one.
        self.maps = nn.ParameterDict(
            {str(size): nn.Parameter(torch.eye(size**2)) for size in kernels if size < largest}
        )
        self.hidden_masks = nn.Buffer(prefix_masks(hidden), persistent=False)
        self.output_masks = nn.Buffer(prefix_masks(outputs), persistent=False)

    def kernel(self, size: int, hidden: int, inputs: int) -> Tensor:
        """Return the kernel of a size for some channels, ``(hidden, inputs, size, size)``."""
        weight = self.conv.weight[:hidden, :inputs]
        margin = (weight.shape[-1] - size) // 2
        if margin == 0:
            return weight
        center = weight[..., margin:-margin, margin:-margin].flatten(2)
        kernel: Tensor = (center @ self.maps[str(size)]).unflatten(2, (size, size))
        return kernel

    def output_factors(self, weights: Tensor, active: Sequence[int]) -> Tensor:
        """Return a factor for each channel of the stage that the block begins, ``(channels,)``.

        It is the share of the mixing weights, ``(columns,)``, whose candidates have the channel.
        """
        per_width = weights.view(len(self.outputs), -1).sum(1)
        columns = len(weights) // len(self.outputs)
        widest = max(self.outputs[column // columns] for column in active)
        return normalized(per_width) @ self.output_masks[:, :widest]

    def forward(self, x: Tensor, weights: Tensor, active: Sequence[int], factors: Tensor) -> Tensor:
        """Return the weighted sum of the active candidates, ``(B, K, H, W)``.

        Args:
            x: ``(B, C, H, W)`` with the first channels of the widest input.
            weights: ``(columns,)``, 0 for candidates that are not active; ordered by width of the
                output, then by kernel size and by width inside the block. The last one is the skip
                connection if the block adds its input.
            active: The columns of the active candidates.
            factors: Factors of the output, ``(K,)``, see ``output_factors``.
        """
        skip = weights[self.convs :].sum()
        columns = [column for column in active if column < self.convs]
        if not columns:
            return x * skip
        table = weights[: self.convs].view(-1, len(self.kernels), len(self.hidden)).sum(0)
        total, count = table.sum(), len(self.hidden)
        hidden = max(self.hidden[column % count] for column in columns)
        used = sorted({column // count % len(self.kernels) for column in columns})
        shares = normalized(table) @ self.hidden_masks[:, :hidden]  # (kernels, hidden)
        share = shares.sum(0)
        kernel = self._mixed_kernel(used, shares / nonzero(share), x.shape[1])
        z = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        z = F.relu(self.norm(z))
        weight = self.project.weight[: len(factors), :hidden] * share.view(1, -1, 1, 1)
        y: Tensor = self.project_norm(F.conv2d(z, weight), total * factors)
        return torch.addcmul(y, x, (total + skip).to(y.dtype)) if self.adds else y

    def _mixed_kernel(self, used: Sequence[int], shares: Tensor, inputs: int) -> Tensor:
        """Return the sum of the kernels with some indices, with a share for each channel."""
        sizes = [self.kernels[index] for index in used]
        kernels = [self.kernel(size, shares.shape[1], inputs) for size in sizes]
        if len(used) == 1:
            return kernels[0]
        margins = [(max(sizes) - size) // 2 for size in sizes]
        padded = (F.pad(k, (m, m, m, m)) for k, m in zip(kernels, margins, strict=True))
        parts = (k * shares[i].view(-1, 1, 1, 1) for k, i in zip(padded, used, strict=True))
        return reduce(torch.add, parts)


def nonzero(values: Tensor) -> Tensor:
    """Replace zeros by ones, for divisions of zero by zero."""
    return values + (values == 0)


def normalized(weights: Tensor) -> Tensor:
    """Divide mixing weights by their sum, if it is not zero."""
    return weights / nonzero(weights.sum())


class Supernet(SupernetBase):
    """The supernet of the elastic space.

    Attributes:
        alphas: ``{"first": (3, columns), "rest": (3 * (cells - 1), columns)}``; the candidates of
            ``first`` have the width of the stage, too, and the last one of ``rest`` skips the
            block. With ``cells=1``, there is no ``rest``.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.
    """

    supports_recomputation = True

    def __init__(self, space: Elastic, *, classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.channels = space.channels
        self.plans = tuple(plan_blocks([space.cells] * STAGES))
        self.stem = make_stem(in_channels, space.channels)
        self.blocks = nn.ModuleList()
        inputs = space.channels
        for plan in self.plans:
            sizes = partial(width_of, space.channels, plan.stage)
            widths = [sizes(percent) for percent in space.widths]
            self.blocks.append(
                MixedBlock(
                    inputs,
                    widths if plan.is_first else [max(widths)],
                    kernels=space.kernels,
                    hidden=[sizes(percent) for percent in space.expansions],
                    adds=not plan.is_first,
                )
            )
            inputs = max(widths)
        self.classifier = nn.Linear(inputs, classes)
        self.set_chain((plan.group, space.candidates_of(plan)) for plan in self.plans)
        # Convolutions are fastest in this layout.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, mixture: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return logits; for the mixing weights, see ``SupernetBase.make_mixture``."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        blocks = zip(self.plans, self.blocks, self.chain_weights(mixture), strict=True)
        factors = x.new_ones(x.shape[1])
        for plan, block, (weights, active) in blocks:
            if len(active) < len(weights):
                kept = torch.zeros_like(weights)
                kept[list(active)] = 1
                weights = weights * kept
            if plan.is_first:
                x = halved(x)
                active = active or range(len(weights))  # without candidates, the output is zero
                factors = cast(MixedBlock, block).output_factors(weights, active)
            x = self.run(block, x, weights, active, factors)
        weight = self.classifier.weight[:, : x.shape[1]]
        return F.linear(x.mean((2, 3)), weight, self.classifier.bias)
