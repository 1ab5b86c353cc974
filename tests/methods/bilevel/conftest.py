"""A supernet without kinks, on which finite differences converge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


class SmoothSupernet(nn.Module):
    """A supernet of two mixed layers of convolution, tanh and batch norm."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(nn.Conv2d(4, 4, k, padding=k // 2), nn.Tanh(), nn.BatchNorm2d(4))
                for k in (1, 3)
            )
            for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(4, 3)
        self.alphas = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(1, 3)) for name in ("first", "second")}
        )

    def weight_parameters(self) -> list[nn.Parameter]:
        return [p for name, p in self.named_parameters() if not name.startswith("alphas.")]

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        layer: Any
        for alpha, layer in zip(self.alphas.values(), self.layers, strict=True):
            mix = alpha.softmax(-1)[0]
            x = mix[0] * x + mix[1] * layer[0](x) + mix[2] * layer[1](x)
            x = self.dropout(x)
        return self.classifier(x.mean((2, 3)))


@pytest.fixture
def smooth() -> Callable[..., Any]:
    """Return a function that builds ``(net, train batch, valid batch)`` in float64."""

    def make(dropout: float = 0.0) -> tuple[SmoothSupernet, Batch, Batch]:
        torch.manual_seed(0)
        net, batches = SmoothSupernet(dropout).double(), []
        for seed in (1, 2):
            generator = torch.Generator().manual_seed(seed)
            images = torch.randn(6, 2, 8, 8, generator=generator).double()
            batches.append((images, torch.randint(3, (6,), generator=generator)))
        return net, batches[0], batches[1]

    return make
