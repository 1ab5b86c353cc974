"""A tiny network for the space ``pretrained``, a file with its weights, and training images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from darts.data import SampleLoader
from darts.data.images import MemoryImages
from darts.data.loader import LoaderOptions
from darts.spaces.macro.fast_layers import Residual
from darts.spaces.pretrained.architectures import NETWORKS

NAME = "tiny"
MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.3, 0.1)


class TinyNet(nn.Module):
    """Two stages, of two residual blocks and of one, and a classifier."""

    statistics = ([0.5, 0.4, 0.3], [0.2, 0.25, 0.5])

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        layers = [(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU()) for _ in range(3)]
        first, second, third = (Residual(*own) for own in layers)
        self.blocks = nn.Sequential(first, second, nn.ReLU(), third)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.blocks(self.stem(x)).mean((2, 3)))
        return logits


NETWORKS[NAME] = TinyNet


def save_weights(folder: Path) -> str:
    """Save random weights in a file; return their name."""
    torch.manual_seed(1)
    torch.save(TinyNet().state_dict(), folder / "tiny.pth")
    return f"{NAME}:{folder / 'tiny.pth'}"


def colors(count: int = 60, used: slice = slice(None)) -> SampleLoader:
    """Return some of ``count`` images of three classes, which differ in their mean color."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    pixels = torch.randint(0, 150, (count, 3, 8, 8), generator=draw)
    pixels[torch.arange(count), labels] += 100
    device = torch.device("cpu")
    options = LoaderOptions(20, 0, "train", shuffle=True, drop_last=True, device=device)
    images = MemoryImages(pixels.to(torch.uint8), labels)
    return SampleLoader(images, torch.arange(count)[used], options, mean=MEAN, std=STD)
