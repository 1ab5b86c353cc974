"""The discrete network of an mlp genotype, and the layers that it shares with the supernet.

References:
    Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167; Ba, Kiros and Hinton, "Layer
    Normalization", arXiv:1607.06450: normalization between the linear map and the activation.
"""

from __future__ import annotations

from torch import Tensor, nn

from darts.spaces.mlp.genotype import ACTIVATIONS, Genotype
from darts.spaces.network import NetworkBase
from darts.spaces.rank_dropout import rank_dropout

NORMALIZATIONS = ("batch", "layer", "none")

SKIP = "skip_connect"
"""The candidate that skips a layer."""


def make_linear(inputs: int, width: int, normalization: str) -> nn.Linear:
    return nn.Linear(inputs, width, bias=normalization != "batch")  # the norm would cancel a bias


def make_norm(name: str, width: int, *, affine: bool) -> nn.Module:
    """Make a normalization of ``(B, width)``."""
    if name == "batch":
        # Not BatchNorm1d, which darts.ops.sync_batch_norm does not synchronize over ranks.
        norm = nn.BatchNorm2d(width, affine=affine)
        return nn.Sequential(nn.Unflatten(1, (width, 1, 1)), norm, nn.Flatten())
    if name == "layer":
        return nn.LayerNorm(width, elementwise_affine=affine)
    return nn.Identity()


def make_preactivation(inputs: int, width: int, normalization: str) -> nn.Sequential:
    """Make a hidden layer without its activation, ``(B, inputs)`` -> ``(B, width)``."""
    norm = make_norm(normalization, width, affine=True)
    return nn.Sequential(make_linear(inputs, width, normalization), norm)


class Network(NetworkBase):
    """The hidden layers of a genotype and a linear classifier.

    Shape: samples ``(B, ...)`` with ``in_channels`` values each -> logits ``(B, classes)``.
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
    ) -> None:
        super().__init__(genotype)
        self.dropout = dropout
        self.layers = nn.ModuleList()
        inputs = in_channels
        for activation, width in genotype.layer_specs:
            preactivation = make_preactivation(inputs, width, normalization)
            self.layers.append(nn.Sequential(*preactivation, ACTIVATIONS[activation]()))
            inputs = width
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, None]:
        x = images.flatten(1)
        for layer in self.layers:
            x = rank_dropout(layer(x), self.dropout, self.training, self.batch_share)
        logits: Tensor = self.classifier(x)
        return (logits, None) if auxiliary else logits

    def feature_blocks(self) -> list[nn.Module]:
        return list(self.layers)
