"""The discrete network of a macro genotype, for training from scratch.

References:
    Sandler et al., "MobileNetV2", arXiv:1801.04381, section 3.3.
    Dropping the residual part of a block for a sample: Huang et al., "Deep Networks with
    Stochastic Depth", arXiv:1603.09382.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor, nn

from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.macro.genotype import Genotype
from darts.spaces.macro.skeleton import (
    InvertedResidual,
    last_channels,
    make_head,
    make_operation,
    make_stem,
    plan_blocks,
)


class Network(nn.Module):
    """The network that a genotype lists block by block.

    Args:
        genotype: its blocks; it is as deep as they say.
        channels: width of the first stage; each later one is twice as wide.
        classes: number of classes.
        in_channels: channels of the images.
        auxiliary: the space has no auxiliary head, so this must be False.
        drop_path: probability with which what a block adds to its input is dropped for a sample,
            in training; the attribute may be changed from epoch to epoch.

    Attributes:
        rows: what ``drop_path`` needs to know when images are a part of a larger batch, or None.
        auxiliary: None.

    Shape: images ``(B, in_channels, H, W)`` of any size -> logits ``(B, classes)``.

    Raises:
        ValueError: for a size that is not positive, a probability outside [0, 1), or an auxiliary
            head.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 16,
        classes: int = 10,
        in_channels: int = 3,
        auxiliary: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, classes=classes, in_channels=in_channels)
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path must be at least 0 and below 1, got {drop_path!r}")
        if auxiliary:
            raise ValueError("networks of the macro space have no auxiliary head; set auxiliary=0")
        self.genotype = genotype
        self.drop_path = drop_path
        self.rows: tuple[int, int] | None = None
        self.auxiliary: nn.Module | None = None
        plans = plan_blocks(channels, genotype.depth)
        self.stem = make_stem(in_channels, channels)
        self.blocks = nn.ModuleList(
            make_operation(name, plan) for name, plan in zip(genotype.blocks, plans, strict=True)
        )
        self.head = make_head(last_channels(channels), classes)

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[True]) -> tuple[Tensor, None]: ...

    def forward(self, images: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Logits of a batch.

        Args:
            images: ``(B, in_channels, H, W)``.
            auxiliary: return ``(logits, None)``, as networks with an auxiliary head do.
        """
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            if isinstance(block, InvertedResidual):
                x = block(x, self.drop_path, self.rows)
        logits: Tensor = self.head(x)
        return (logits, None) if auxiliary else logits

    def carriers(self, cell: str, edge: int) -> list[tuple[nn.Module, str]] | None:
        """Module and attribute that hold what a block adds to its input.

        A skipped block has none. Blocks that change width or size add to nothing, so that nothing
        would be left without them: of those it is None.
        """
        block = self.blocks[edge]
        if not isinstance(block, InvertedResidual):
            return []
        return [(block, "layers")] if block.residual else None
