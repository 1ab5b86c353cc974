"""The discrete network of an mlp genotype, for training from scratch."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor, nn

from darts.spaces.cnn.skeleton import check_positive
from darts.spaces.mlp.genotype import Genotype
from darts.spaces.mlp.layers import (
    ACTIVATION_MODULES,
    check_normalization,
    drop_units,
    make_preactivation,
)


class Network(nn.Module):
    """The hidden layers that a genotype lists, and a linear classifier.

    Args:
        genotype: the layers; their number and widths are the size of the network.
        classes: number of classes.
        in_channels: numbers in a sample.
        normalization: "batch", "layer" or "none", in front of each activation.
        dropout: probability with which, in training, what a unit puts out is dropped for a sample.
        auxiliary: the space has no auxiliary head, so this must be False.
        drop_path: its networks have one path only, so this must be 0.

    Attributes:
        rows: what ``dropout`` needs to know when samples are a part of a larger batch, or None.
        auxiliary: None.

    Shape: samples ``(B, ...)`` of ``in_channels`` numbers each -> logits ``(B, classes)``.

    Raises:
        ValueError: for a size that is not positive, an unknown normalization, a probability outside
            [0, 1), an auxiliary head or drop path.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        classes: int = 10,
        in_channels: int = 64,
        normalization: str = "batch",
        dropout: float = 0.0,
        auxiliary: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(classes=classes, in_channels=in_channels)
        check_normalization(normalization)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout!r}")
        if auxiliary:
            raise ValueError("networks of the mlp space have no auxiliary head; set auxiliary=0")
        if drop_path > 0:
            raise ValueError(
                f"networks of the mlp space have one path only, got drop_path={drop_path}; set "
                "drop_path=0, and space.dropout to drop units"
            )
        self.genotype = genotype
        self.dropout, self.drop_path = dropout, drop_path
        self.rows: tuple[int, int] | None = None
        self.auxiliary: nn.Module | None = None
        self.layers = nn.ModuleList()
        width = in_channels
        for activation, own in genotype.layer_specs:
            before = make_preactivation(width, own, normalization)
            self.layers.append(nn.Sequential(*before, ACTIVATION_MODULES[activation]()))
            width = own
        self.classifier = nn.Linear(width, classes)

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, images: Tensor, auxiliary: Literal[True]) -> tuple[Tensor, None]: ...

    def forward(self, images: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Logits of a batch.

        Args:
            images: ``(B, ...)``, flattened sample by sample.
            auxiliary: return ``(logits, None)``, as networks with an auxiliary head do.
        """
        x = images.flatten(1)
        for layer in self.layers:
            x = layer(x)
            if self.dropout > 0 and self.training:
                x = drop_units(x, self.dropout, self.rows)
        logits: Tensor = self.classifier(x)
        return (logits, None) if auxiliary else logits
