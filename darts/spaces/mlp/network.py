"""The discrete network of an mlp genotype, for training from scratch."""

from __future__ import annotations

from torch import Tensor, nn

from darts.spaces.checks import check_drop_probability, check_positive, reject_auxiliary_head
from darts.spaces.mlp.genotype import Genotype
from darts.spaces.mlp.layers import ACTIVATION_MODULES, make_preactivation
from darts.spaces.network import NetworkBase
from darts.spaces.rank_dropout import rank_dropout


class Network(NetworkBase):
    """The hidden layers of a genotype and a linear classifier.

    Args:
        genotype: The layers; they define depth and widths.
        classes: Number of classes.
        in_channels: Number of values of a sample.
        normalization: Norm before each activation: ``"batch"``, ``"layer"`` or ``"none"``.
        dropout: Dropout rate of the hidden units in training.
        auxiliary: Must be False; the space has no auxiliary head.
        drop_path: Must be 0; the networks have one path.

    Shape: samples ``(B, ...)`` with ``in_channels`` values each -> logits ``(B, classes)``.

    Raises:
        ValueError: A size that is not positive, an unknown normalization, a dropout rate outside
            [0, 1), an auxiliary head or drop path.
    """

    genotype: Genotype

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
        check_positive(classes=classes, in_channels=in_channels)
        check_drop_probability(dropout=dropout)
        reject_auxiliary_head("mlp", auxiliary)
        if drop_path > 0:
            raise ValueError(
                f"drop_path={drop_path}: networks of the mlp space have one path; set drop_path=0, "
                "and use space.dropout to drop units"
            )
        super().__init__(genotype, drop_path)
        self.dropout = dropout
        self.layers = nn.ModuleList()
        inputs = in_channels
        for activation, width in genotype.layer_specs:
            preactivation = make_preactivation(inputs, width, normalization)
            self.layers.append(nn.Sequential(*preactivation, ACTIVATION_MODULES[activation]()))
            inputs = width
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        """Return logits, or ``(logits, None)`` if ``auxiliary``, as there is no auxiliary head."""
        x = images.flatten(1)
        for layer in self.layers:
            x = rank_dropout(layer(x), self.dropout, self.training, self.batch_share)
        logits: Tensor = self.classifier(x)
        return (logits, None) if auxiliary else logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.layers)
