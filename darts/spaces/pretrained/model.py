"""A network that begins with trained weights, whose stages and adapter are choices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from darts.data import SampleLoader
from darts.reading import one_line
from darts.spaces.macro.fast_layers import Residual
from darts.spaces.module.choice import Choice
from darts.spaces.network import FittedLayer, FittingData
from darts.spaces.pretrained.architectures import make_backbone, published_key, structure
from darts.spaces.pretrained.features import training_features
from darts.spaces.pretrained.head import fit_head
from darts.spaces.pretrained.weights import Weights


class Backbone(nn.Module):
    """The layers that have trained weights.

    Batch norms keep their trained statistics, also in training: the features to which a classifier
    was fitted must not change with the batch. Statistics of new images would be worse: with
    EfficientNet-Lite0 and 2,000 photos of CIFAR-10 at 64 pixels, a linear classifier then has 45 %
    instead of 63 %.

    Args:
        weights: The weights, which ``load`` reads; until then, they are random.
        size: Side in pixels to which smaller images are enlarged.

    Shape: ``(B, 1 or 3, H, W)`` -> ``(B, F)``. One channel stands for three equal ones.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, weights: Weights, size: int) -> None:
        super().__init__()
        self.weights, self.size = weights, size
        # The inputs of the run have mean 0 and deviation 1 on its own data. The trained network
        # needs inputs that are normalized with the statistics of its training.
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))
        self.net = make_backbone(weights.network)
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        x = images * self.scale + self.shift
        if min(x.shape[2:]) < self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bilinear")
        features: Tensor = self.net(x)
        return features

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def extra_repr(self) -> str:
        return f"size={self.size}"

    @torch.no_grad()
    def load(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Load the weights; the inputs have been normalized with ``mean`` and ``std``."""
        stages = structure(self.weights.network).stages
        names = {key: published_key(key, stages) for key in self.net.state_dict()}
        try:
            state = self.weights.read()
            self.net.load_state_dict({k: state[v] for k, v in names.items() if v in state})
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(
                f"space.weights={self.weights.name}: cannot be loaded: {one_line(error, 200)}"
            ) from None
        wanted_mean, wanted_std, own_mean, own_std = (
            torch.tensor(v).view(-1, 1, 1) for v in (*self.weights.statistics, mean, std)
        )
        self.scale.copy_(own_std / wanted_std)
        self.shift.copy_((own_mean - wanted_mean) / wanted_std)


class PretrainedModel(FittedLayer):
    """A network with trained weights and a new linear classifier.

    Args:
        weights: Name of the weights.
        classes: Number of outputs.
        size: Side in pixels to which smaller images are enlarged.
        folder: Folder for the features of training images; None if they are not kept.

    Shape: ``(B, 1 or 3, H, W)`` -> ``(B, classes)``.
    """

    def __init__(
        self, weights: str, classes: int, size: int = 0, folder: Path | None = None
    ) -> None:
        super().__init__()
        parsed = Weights.parse(weights)
        features = structure(parsed.network).features
        self.folder = folder
        self.backbone = Backbone(parsed, size)
        choices = {"adapter": adapter(features), "plain": nn.Identity()}
        self.adapter = Choice(choices, key="adapter")
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.adapter(self.backbone(images)))
        return logits

    def fit(self, data: FittingData) -> float:
        """Load the weights, and fit the classifier to the features of training samples."""
        loader, trains = data.loader, self.training
        assert isinstance(loader, SampleLoader)
        self.backbone.load(loader.mean, loader.std)
        self.eval()  # the adapter is the identity
        features, targets = training_features(self.backbone, loader, self.folder, data.seconds)
        self.train(trains)
        return fit_head(self.head, features, targets, data.loss)


def adapter(features: int) -> Residual:
    """Return a residual bottleneck of features ``(B, F)``, which begins as the identity.

    References:
        Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", arXiv:1902.00751.
    """
    up = nn.Linear(features // 4, features)
    nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)
    return Residual(nn.Linear(features, features // 4), nn.ReLU(), up)
