"""The space of a network with trained weights: the length of its stages, and an adapter or none.

The genotype that keeps all blocks, without an adapter, is plain fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from darts.registry import number
from darts.spaces.module.genotype import Genotype as ModelGenotype
from darts.spaces.module.space import ModelSpace
from darts.spaces.module.targets import PassedModel
from darts.spaces.pretrained.model import PretrainedModel
from darts.spaces.pretrained.weights import Weights
from darts.spaces.space import SPACES


@dataclass(frozen=True)
class Genotype(ModelGenotype):
    """The number of blocks of each stage, and the adapter."""

    space: ClassVar[str] = "pretrained"


@SPACES.register
@dataclass
class Pretrained(ModelSpace):
    """The networks that begin with trained weights.

    Attributes:
        weights: Name of the weights, see ``darts.spaces.pretrained.weights``.
        size: Side in pixels to which the networks enlarge smaller images.
        features: Folder that keeps the features of training images, for other runs; "" for none.
    """

    name: str = "pretrained"
    genotype: ClassVar[type[ModelGenotype]] = Genotype
    fine_tunes: ClassVar[bool] = True
    skip_operations: ClassVar[tuple[str, ...]] = ("0", "plain")
    weightless_operations: ClassVar[tuple[str, ...]] = ("0", "plain")
    retrain_keys: ClassVar[tuple[str, ...]] = ("weights", "size")
    data_kinds: ClassVar[tuple[str, ...]] = ("images",)
    weights: str = "efficientnet_lite0"
    size: int = number(0, low=0, high=1024)
    features: str = ""

    def model(self, sizes: Mapping[str, int]) -> nn.Module:
        folder = Path(self.features) if self.features else None
        return PretrainedModel(self.weights, sizes["classes"], self.size, folder)

    def in_channels(self, sample_shape: Sequence[int]) -> int:
        if (channels := sample_shape[0]) not in (1, 3):
            raise ValueError(f"space.weights={self.weights}: needs 1 or 3 channels, not {channels}")
        return channels

    def example(self) -> PassedModel:
        return _example(self.weights)

    def plain(self) -> ModelGenotype:
        """Return the genotype that keeps all blocks, without an adapter."""
        return self.genotype_of([names[-1] for names in self.choices().values()])

    def check_training(self) -> None:
        self.example()
        Weights.parse(self.weights).path()

    @property
    def weights_source(self) -> str:
        return Weights.parse(self.weights).source


@cache
def _example(weights: str) -> PassedModel:
    with torch.device("meta"):
        return PassedModel(PretrainedModel(weights, classes=2))
