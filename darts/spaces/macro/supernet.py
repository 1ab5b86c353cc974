"""Supernet of the macro space: each block is the weighted sum of its candidates.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, sections 3.1 and 4.1.
    Wu et al., "FBNet", arXiv:1812.03443, section 3.2.
    Chen et al., "P-DARTS", arXiv:1904.12760, section 3.3: dropout of skip connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.ops.sums import weighted_sum
from darts.spaces.macro.parallel import can_run_together, run_together
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

    def __init__(
        self,
        *,
        channels: int = 16,
        cells: int = 4,
        skeleton: str = "standard",
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        shared = SKELETONS[skeleton]
        self.plans = tuple(plan_blocks(channels, cells, shared, in_channels))
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
