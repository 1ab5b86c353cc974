"""Supernet of the macro space: each block is the weighted sum of its candidates.

The inverted residual blocks of a sum have the same input and are computed together with fewer
kernels. Their first pointwise convolutions are one convolution. Depthwise convolutions with the
same kernel size are one, and so are last pointwise convolutions with the same number of inputs.
Each batch norm normalizes the channels of several blocks. The weights still belong to the blocks,
so state dicts do not depend on how the blocks are computed.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, sections 3.1 and 4.1.
    Wu et al., "FBNet", arXiv:1812.03443, section 3.2.
    Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3: dropout of skip connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.autograd import Context, OneOutput
from darts.ops.batch_norm import values_per_channel
from darts.ops.grouped_conv import depthwise_conv2d
from darts.ops.pointwise import pointwise_conv2d
from darts.ops.sums import weighted_sum
from darts.spaces.macro.skeleton import (
    SKELETONS,
    BlockPlan,
    InvertedResidual,
    make_head,
    make_operation,
    make_stem,
    plan_blocks,
)
from darts.spaces.supernet import ParameterRows, SupernetBase

if TYPE_CHECKING:
    from darts.spaces.macro.space import Macro

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


class MixedBlock(nn.Module):
    """All candidates of one block.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.plan = plan
        self.keeps_shape = plan.stride == 1 and plan.inputs == plan.outputs
        self.operations = nn.ModuleList(
            make_operation(name, plan, affine=False) for name in plan.candidates
        )

    def forward(
        self, x: Tensor, weights: Tensor, active: Sequence[int], skip_dropout: float
    ) -> Tensor:
        """Return the weighted sum of the active candidates; zeros if there are none."""
        factors = weights.unbind()
        together = self.inverted_residuals(active)
        total: Tensor | None = None
        if can_run_together(list(together.values()), x):
            own = [factors[column] for column in together]
            total = run_together(list(together.values()), x, own)
            active = [column for column in active if column not in together]
            if self.keeps_shape:  # the blocks add their input
                names = self.plan.candidates
                skips = [column for column in active if names[column] == "skip_connect"]
                if skips and not (self.training and skip_dropout > 0):
                    own.extend(factors[column] for column in skips)
                    active = [column for column in active if column not in skips]
                total = torch.addcmul(total, x, torch.stack(own).sum())
        terms = [self._run_candidate(column, x, skip_dropout) for column in active]
        if terms:
            others = weighted_sum(terms, [factors[column] for column in active])
            return others if total is None else total + others
        if total is not None:
            return total
        size = (-(-side // self.plan.stride) for side in x.shape[-2:])
        return x.new_zeros((len(x), self.plan.outputs, *size))

    def inverted_residuals(self, active: Sequence[int]) -> dict[int, InvertedResidual]:
        """Return the active candidates that are inverted residual blocks, by column."""
        operations = {column: self.operations[column] for column in active}
        return {n: own for n, own in operations.items() if isinstance(own, InvertedResidual)}

    def _run_candidate(self, column: int, x: Tensor, skip_dropout: float) -> Tensor:
        y: Tensor = self.operations[column](x)
        if self.plan.candidates[column] == "skip_connect":
            y = F.dropout(y, skip_dropout, self.training)
        return y


class Supernet(SupernetBase):
    """The supernet of the macro space.

    The batch norms of stem and head have affine parameters, others have none.

    Inverted residual blocks that keep the shape add their input to their output. If all candidates
    of a block do this or skip the block, and the mixing weights sum to one, the input has weight
    one in the sum, so auxiliary skip connections are not needed there. Partial channels are not
    possible, since blocks change the width.

    Attributes:
        alphas: With the standard skeleton, ``{"first": (3, 6), "rest": (3 * (cells - 1), 7)}``;
            with ``cells=1``, no ``rest``.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.
    """

    supports_recomputation = True
    block_class: ClassVar[type[MixedBlock]] = MixedBlock

    def __init__(self, space: Macro, *, classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        channels, shared = space.channels, SKELETONS[space.skeleton]
        self.plans = tuple(plan_blocks(channels, space.cells, shared, in_channels))
        self.stem = make_stem(in_channels, channels, shared)
        self.blocks = nn.ModuleList(self.block_class(plan) for plan in self.plans)
        self.head = make_head(channels, classes, shared)
        self.set_chain((plan.group, plan.candidates) for plan in self.plans)
        # Convolutions are fastest in this layout.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def operation_rows(self) -> dict[str, list[ParameterRows]]:
        return {
            f"{position}.{name}": [ParameterRows(p, 0, len(p)) for p in operation.parameters()]
            for position, block in enumerate(cast(Iterable[MixedBlock], self.blocks))
            for name, operation in zip(block.plan.candidates, block.operations, strict=True)
            if name != "skip_connect"
        }

    def forward(self, images: Tensor, mixture: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return logits; for the mixing weights, see ``SupernetBase.make_mixture``."""
        chain = self.chain_weights(mixture)
        dropout = self.skip_dropout if self.training else 0.0
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for block, (block_weights, active) in zip(self.blocks, chain, strict=True):
            x = self.run(block, x, block_weights, active, dropout)
        logits: Tensor = self.head(x)
        return logits
