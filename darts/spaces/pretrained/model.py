"""A network that begins with trained weights, whose blocks and adapter are choices."""

from __future__ import annotations

import copy
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from darts.data import SampleLoader
from darts.reading import one_line
from darts.spaces.macro.fast_layers import Residual
from darts.spaces.module.choice import Choice
from darts.spaces.network import FittedLayer, FittingData
from darts.spaces.pretrained.architectures import make_backbone, structure
from darts.spaces.pretrained.head import fit_head
from darts.spaces.pretrained.weights import Weights

HEAD_SAMPLES = 10_000
"""Largest number of samples to which the classifier is fitted."""


def adapter(features: int) -> Residual:
    """Return a residual bottleneck of features ``(B, F)``, which begins as the identity.

    References:
        Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", arXiv:1902.00751.
    """
    up = nn.Linear(features // 4, features)
    nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)
    return Residual(nn.Linear(features, features // 4), nn.ReLU(), up)


class PretrainedModel(FittedLayer):
    """A network with trained weights and a new linear classifier.

    ``fit`` loads the weights; until then, they are random. Batch norms keep their trained
    statistics, also in training: the features to which the classifier was fitted must not change
    with the batch. Statistics of new images would be worse: with EfficientNet-Lite0 and 2,000
    photos of CIFAR-10 at 64 pixels, a linear classifier then has 45 % instead of 63 %.

    Args:
        weights: Name of the weights.
        classes: Number of outputs.
        size: Side in pixels to which smaller images are enlarged.

    Shape: ``(B, 1 or 3, H, W)`` -> ``(B, classes)``. One channel stands for three equal ones.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, weights: str, classes: int, size: int = 0) -> None:
        super().__init__()
        self.weights, self.size = Weights.parse(weights), size
        features = structure(self.weights.network).features
        # From the inputs of the run, which have mean 0 and deviation 1, to those of the network.
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))
        self.backbone = make_backbone(self.weights.network)
        self.adapter = Choice({"plain": nn.Identity(), "adapter": adapter(features)})
        self.head = nn.Linear(features, classes)
        self.train()

    def features(self, images: Tensor) -> Tensor:
        """Return the inputs of the classifier, ``(B, F)``."""
        x = images * self.scale + self.shift
        if min(x.shape[2:]) < self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bilinear")
        features: Tensor = self.adapter(self.backbone(x))
        return features

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits

    def train(self, mode: bool = True) -> PretrainedModel:
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    @torch.no_grad()
    def fit(self, data: FittingData) -> float:
        """Load the weights, and fit the classifier to the features of training samples."""
        begin, loader, trains = time.monotonic(), copy.copy(data.loader), self.training
        assert isinstance(loader, SampleLoader)
        loader.augmentation = None  # the black borders of shifted images would cost five points
        self._load()
        statistics = (*self.weights.statistics, loader.mean, loader.std)
        mean, std, own_mean, own_std = (torch.tensor(v).view(-1, 1, 1) for v in statistics)
        self.scale.copy_(own_std / std)
        self.shift.copy_((own_mean - mean) / std)
        self.eval()
        features: list[Tensor] = []
        targets: list[Tensor] = []
        for samples, labels in loader.epoch(0):
            features.append(self.features(samples))
            targets.append(labels)
            is_late = time.monotonic() - begin > data.seconds
            if is_late or sum(map(len, targets)) >= HEAD_SAMPLES:
                break
        self.train(trains)
        return fit_head(self.head, torch.cat(features), torch.cat(targets), data.loss)

    def _load(self) -> None:
        """Copy the weights of the backbone from their file."""
        names = {key: key.replace("candidates.block.", "") for key in self.backbone.state_dict()}
        try:
            state = self.weights.read()
            self.backbone.load_state_dict({k: state[v] for k, v in names.items() if v in state})
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(
                f"space.weights={self.weights.name}: cannot be loaded: {one_line(error, 200)}"
            ) from None
