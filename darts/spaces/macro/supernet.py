"""The supernet of the macro space: each block is the weighted sum of its candidates.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, sections 3.1 and 4.1.
    Wu et al., "FBNet", arXiv:1812.03443, section 3.2.
    Dropout on skip connections: Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.recomputation import recompute
from darts.ops.sums import weighted_sum
from darts.spaces.checks import check_positive
from darts.spaces.macro.skeleton import (
    BlockPlan,
    last_channels,
    make_head,
    make_operation,
    make_stem,
    plan_blocks,
)
from darts.spaces.mixture import as_mixture
from darts.spaces.supernet import SupernetBase


class MixedBlock(nn.Module):
    """All candidates of one block.

    Shape: ``(B, inputs, H, W)`` -> ``(B, outputs, ceil(H / stride), ceil(W / stride))``.
    """

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.plan = plan
        self.operations = nn.ModuleList(
            make_operation(name, plan, affine=False) for name in plan.candidates
        )

    def forward(
        self, x: Tensor, weights: Tensor, active: Sequence[int], skip_dropout: float
    ) -> Tensor:
        """The weighted sum of those candidates that are active; no others are run.

        Args:
            x: the block's input.
            weights: ``(candidates,)``.
            active: columns to run.
            skip_dropout: probability with which an element behind the skip is dropped.
        """
        factors = weights.unbind()
        terms = [self._output(column, x, skip_dropout) for column in active]
        if terms:
            return weighted_sum(terms, [factors[column] for column in active])
        size = (-(-side // self.plan.stride) for side in x.shape[-2:])
        return x.new_zeros((len(x), self.plan.outputs, *size))

    def _output(self, column: int, x: Tensor, skip_dropout: float) -> Tensor:
        y: Tensor = self.operations[column](x)
        if self.plan.candidates[column] == "skip_connect":
            y = F.dropout(y, skip_dropout, self.training)
        return y


class Supernet(SupernetBase):
    """The supernet of the macro space.

    A stem, three stages of blocks, of which the second and third begin with stride 2 and twice the
    width, and a head. The norms of its blocks have no affine parameters, those of stem and head
    have. Every inverted residual block of one shape in and out adds its input, so that with weights
    that sum to one the identity passes at full strength whatever they are: what an auxiliary skip
    connection is for is there already. Partial channels have no place either, since blocks change
    the width.

    The alphas are parameters, so they are in the state dict, but ``weight_parameters`` leaves them
    out. Skips are at all blocks but the first of a stage.

    Args:
        channels: width of the first stage.
        cells: number of blocks in each of the three stages.
        classes: number of classes.
        in_channels: channels of the images.

    Attributes:
        alphas: ``{"first": (3, 6), "rest": (3 * (cells - 1), 7)}``; with ``cells=1``, no ``rest``.
        candidates: by group, the names of the alphas' columns, block by block.
        edges: by group, each block's place in the chain: block ``i`` leads from state ``i`` to
            state ``i + 1``.
        counts: by group 1: no two blocks share alphas.
        shapes: of the mixing weights, by group.
        skip_dropout: probability with which, in training, an element of what skip_connect puts out
            is dropped and the others are scaled up.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.

    Raises:
        ValueError: for a size that is not positive.
    """

    space = "macro"

    def __init__(
        self, *, channels: int = 16, cells: int = 4, classes: int = 10, in_channels: int = 3
    ) -> None:
        super().__init__()
        check_positive(channels=channels, cells=cells, classes=classes, in_channels=in_channels)
        self.plans = tuple(plan_blocks(channels, cells))
        groups = dict.fromkeys(plan.group for plan in self.plans)
        self.candidates = {
            group: tuple(plan.candidates for plan in self.plans if plan.group == group)
            for group in groups
        }
        self.edges = {
            group: tuple((i, i + 1) for i, plan in enumerate(self.plans) if plan.group == group)
            for group in groups
        }
        self.counts = dict.fromkeys(groups, 1)
        self.shapes = {group: (len(rows), len(rows[0])) for group, rows in self.candidates.items()}
        self.recomputes = False
        self.stem = make_stem(in_channels, channels)
        self.blocks = nn.ModuleList(MixedBlock(plan) for plan in self.plans)
        self.head = make_head(last_channels(channels), classes)
        # Small random values break ties without preferring anything.
        self.alphas = nn.ParameterDict(
            {group: nn.Parameter(1e-3 * torch.randn(shape)) for group, shape in self.shapes.items()}
        )
        # What convolutions run fastest on.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def operation_rows(self) -> dict[str, list[tuple[nn.Parameter, int, int]]]:
        """What each candidate of each block owns: all of its parameters, whole."""
        return {
            f"{position}.{name}": [(p, 0, len(p)) for p in operation.parameters()]
            for position, block in enumerate(self.blocks)
            for name, operation in zip(block.plan.candidates, block.operations, strict=True)  # type: ignore[union-attr,arg-type]
            if name != "skip_connect"
        }

    def recompute_cells(self) -> None:
        """Keep only what passes between blocks, and compute the rest again to go backward."""
        self.recomputes = True

    def forward(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits of a batch.

        Args:
            images: ``(B, in_channels, H, W)``.
            weights: mixing weights by group, ``(blocks, candidates)``; a ``Mixture`` may say which
                of them are active. When not given, the softmax of the supernet's own alphas.
        """
        if weights is None:
            weights = {group: self.alphas[group].softmax(-1) for group in self.shapes}
        mixture = as_mixture(weights)
        mixture.check(self.shapes)
        shares = {group: mixture.of_cell(group, 0) for group in self.shapes}
        dropout = self.skip_dropout if self.training else 0.0
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for plan, block in zip(self.plans, self.blocks, strict=True):
            share = shares[plan.group]
            everything = range(len(plan.candidates))
            active = everything if share.active is None else share.active[plan.row]
            run: Any = partial(recompute, block, random=dropout > 0) if self.recomputes else block
            x = run(x, share.weights[plan.row], active, dropout)
        logits: Tensor = self.head(x)
        return logits
