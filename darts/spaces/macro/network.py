"""Discrete network of a macro genotype.

References:
    Sandler et al., "MobileNetV2", arXiv:1801.04381, section 3.3.
    Huang et al., "Deep Networks with Stochastic Depth", arXiv:1603.09382: dropping the residual
    branch of a block for a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darts.spaces.checks import check_positive
from darts.spaces.macro.fast_layers import Residual
from darts.spaces.macro.genotype import Genotype
from darts.spaces.macro.skeleton import (
    SKELETONS,
    last_channels,
    make_head,
    make_operation,
    make_stem,
    plan_blocks,
)
from darts.spaces.network import NetworkBase


class Network(NetworkBase):
    """A stem, the blocks of a genotype, and a head.

    Args:
        channels: Width of the first stage; the skeleton defines the other widths.
        drop_path: Probability of dropping the residual branch of a block for a sample, in training.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 16,
        skeleton: str = "standard",
        classes: int = 10,
        in_channels: int = 3,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(genotype, drop_path)
        check_positive(channels=channels, classes=classes, in_channels=in_channels)
        shared = SKELETONS[skeleton]
        check_depths(genotype, skeleton, shared.stage_depths(genotype.depth))
        plans = plan_blocks(channels, genotype.depth, shared, in_channels)
        self.stem = make_stem(in_channels, channels, shared)
        self.blocks = nn.ModuleList(
            make_operation(name, plan) for name, plan in zip(genotype.blocks, plans, strict=True)
        )
        self.head = make_head(last_channels(channels, shared), classes, shared)

    def forward(self, images: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Return logits, or ``(logits, None)`` with ``auxiliary``: the space has no such head."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            if isinstance(block, Residual):
                x = block(x, self.drop_path, self.batch_share)
            else:
                x = block(x)
        logits: Tensor = self.head(x)
        return (logits, None) if auxiliary else logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.blocks)

    def edge_modules(self, cell: str, edge: int) -> list[tuple[nn.Module, str]] | None:
        # A block that changes width or image size has no residual connection; the network cannot
        # work without it.
        block = self.blocks[edge]
        if isinstance(block, nn.Identity):
            return []
        has_bypass = isinstance(block, Residual) and block.residual
        return [(block, "layers")] if has_bypass else None


def check_depths(genotype: Genotype, skeleton: str, depths: tuple[int, ...]) -> None:
    """Raise ValueError unless the stages of a genotype have these numbers of blocks."""
    if genotype.depths != depths:
        wanted, actual = (", ".join(map(str, numbers)) for numbers in (depths, genotype.depths))
        fitting = [name for name, shared in SKELETONS.items() if shared.depths == genotype.depths]
        remedy = f"; set space.skeleton={fitting[0]}" if fitting else ""
        raise ValueError(
            f"space.skeleton={skeleton}: the stages of the genotype have {actual} blocks, not "
            f"{wanted}{remedy}"
        )
